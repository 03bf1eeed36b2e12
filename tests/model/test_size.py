"""How far: the line that tells the size of a move."""

from dataclasses import replace

import numpy as np
import pytest

from model.dataset import Span, Windows, windows_of
from model.series import Series
from model.size import size_inputs, size_kernel
from model.size_line import fit_size
from tests.synthetic import START

HORIZONS = (1, 5)


def market(seed: int, volatility: np.ndarray) -> Series:
    """Bars of a random walk of this volatility, ten ticks each."""
    noise = np.random.default_rng(seed)
    ticks = noise.normal(size=(len(volatility), 10)) * volatility[:, None] / np.sqrt(10)
    path = np.cumsum(ticks.ravel()).reshape(-1, 10)
    opened = np.append(0.0, path[:-1, -1])
    high, low = np.maximum(path.max(axis=1), opened), np.minimum(path.min(axis=1), opened)
    prices = 100 * np.exp(np.stack([opened, high, low, path[:, -1]], axis=1))
    volume = np.ones((len(volatility), 1))
    return Series("A-B", "1m", START, np.concatenate([prices, volume, volume * 100], axis=1))


def windows_in(*series: Series) -> Windows:
    return windows_of(series, Span(0, series[0].end_time + 1), 60, HORIZONS)


@pytest.fixture(scope="module")
def bursts() -> Series:
    """Volatility that comes in bursts of some ten bars."""
    noise = np.random.default_rng(1)
    level = np.zeros(6000)
    for i in range(1, len(level)):
        level[i] = 0.9 * level[i - 1] + 0.35 * noise.normal()
    return market(2, 0.001 * np.exp(level))


def test_where_volatility_comes_in_bursts_the_line_knows_the_size_better(bursts: Series) -> None:
    windows = windows_in(bursts)
    _, _, expected = fit_size([bursts], windows, HORIZONS)
    moved = np.abs(windows.targets)
    for place in range(len(HORIZONS)):
        told = expected[:, place]
        plain = np.full(len(told), np.log(moved[:, place].mean()))
        gained = plain + moved[:, place] / np.exp(plain) - told - moved[:, place] / np.exp(told)
        assert gained.mean() > 3 * gained.std() / np.sqrt(len(gained)) * np.sqrt(HORIZONS[place])


def test_the_expected_size_is_the_mean_size(bursts: Series) -> None:
    windows = windows_in(bursts)
    _, _, expected = fit_size([bursts], windows, HORIZONS)
    assert (np.abs(windows.targets) / np.exp(expected)).mean(axis=0) == pytest.approx(1, abs=0.02)


def test_each_series_has_its_own_usual_volatility(bursts: Series) -> None:
    calm = replace(bursts, symbol="C-D", bars=bursts.bars**0.1)
    _, usual, expected = fit_size([bursts, calm], windows_in(bursts, calm), HORIZONS)
    assert usual["C-D"] == pytest.approx(usual["A-B"] / 10)
    assert np.abs(np.subtract(*np.split(expected, 2))).max() < 1e-2


def test_lively_markets_are_expected_to_calm_down_the_more_the_farther_ahead() -> None:
    """The last input is the level, the only one that is told against what is usual."""
    level = size_kernel((1, 5, 15, 30, 60, 240))[-1]
    assert (level < 0).all()
    assert (np.diff(level) <= 0).all()


def test_far_from_what_is_usual_the_scale_moves_with_volatility(bursts: Series) -> None:
    """So a market that changed for good is not held to what it once was."""
    ends = np.arange(100, 200)
    found = size_inputs(bursts.bars, 60, ends, 1e-9)
    np.testing.assert_array_equal(found, size_inputs(bursts.bars, 60, ends, 1e-8))


def test_where_nothing_is_usual_yet_the_present_volatility_is(bursts: Series) -> None:
    assert not size_inputs(bursts.bars, 60, np.arange(100, 200))[:, -1].any()


def test_the_inputs_do_not_depend_on_price_level_unit_of_volume_or_pace(bursts: Series) -> None:
    ends = np.arange(100, 200)
    found = size_inputs(bursts.bars, 60, ends, 1e-3)
    other = np.concatenate([bursts.bars[:, :4] * 37, bursts.bars[:, 4:] * 1e4], axis=1)
    np.testing.assert_allclose(size_inputs(other, 60, ends, 1e-3), found, atol=1e-5)
    wild = np.concatenate([bursts.bars[:, :4] ** 3, bursts.bars[:, 4:]], 1)
    np.testing.assert_allclose(size_inputs(wild, 60, ends, 3e-3), found, atol=1e-5)


def test_a_window_is_seen_alike_alone_and_among_others(bursts: Series) -> None:
    alone = size_inputs(bursts.bars[140:201], 60, np.array([60]))
    np.testing.assert_array_equal(alone, size_inputs(bursts.bars, 60, np.array([200])))


def test_a_market_that_stands_still_has_inputs_all_the_same() -> None:
    assert np.isfinite(size_inputs(np.ones((61, 6)), 60, np.array([60]))).all()
    silent = np.ones((61, 6))
    silent[:, 4:] = 0
    assert np.isfinite(size_inputs(silent, 60, np.array([60]))).all()
