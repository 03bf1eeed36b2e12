"""How much of a forecast is believed."""

import numpy as np
import pytest

from model.gains import fit_gain, symbol_gains


def test_a_gain_of_pure_noise_is_zero_or_small() -> None:
    noise = np.random.default_rng(1)
    gains = [fit_gain(noise.normal(size=500), noise.normal(size=500), overlap=1) for _ in range(20)]
    assert np.mean(gains) < 0.03


def test_a_gain_of_a_path_that_is_right_is_one() -> None:
    path = np.random.default_rng(2).uniform(-1, 1, size=500)
    assert fit_gain(path, path, overlap=1) == pytest.approx(1.0)


def test_a_forecast_that_hardly_stands_out_is_not_made() -> None:
    noise = np.random.default_rng(3)
    forecast, actual = noise.normal(size=(2, 400))
    skill = actual + 0.12 * forecast  # two and a half standard errors
    by_chance = forecast * (forecast @ actual) / (forecast @ forecast)
    assert fit_gain(forecast, skill - by_chance, overlap=1) == 0
    assert fit_gain(forecast, skill + 0.3 * forecast, overlap=1) > 0.2


def test_a_symbol_of_few_windows_has_the_gain_of_all() -> None:
    noise = np.random.default_rng(3).normal(size=(2, 4000))
    forecast, targets = 0.2 * noise[0], 0.2 * noise[0] + noise[1]
    symbol = np.where(np.arange(4000) < 3980, 0, 1)
    many, few = symbol_gains(forecast, targets, symbol, 1)
    assert abs(many - 1) < 0.2
    assert few > 0.5


def test_a_symbol_that_moves_against_the_forecast_is_not_forecast() -> None:
    noise = np.random.default_rng(4).normal(size=(2, 6000))
    symbol = np.arange(6000) % 2
    targets = np.where(symbol == 0, 0.3, -0.3) * noise[0] + noise[1]
    gains = symbol_gains(0.1 * noise[0], targets, symbol, 1)
    assert gains[0] == 1.5
    assert gains[1] == 0
