"""How much of a forecast is believed."""

import numpy as np
import pytest

from model.gains import fit_gain


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
