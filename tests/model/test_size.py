"""How far: the line that tells the size of a move."""

from dataclasses import replace

import numpy as np
import pytest

from model.dataset import Span, embargo_bars, stretches, windows_of
from model.series import Series
from model.size import SizeLine, size_inputs
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


def fitted(series: Series) -> tuple[SizeLine, np.ndarray]:
    windows = windows_of([series], Span(0, series.end_time + 1), 60, HORIZONS)
    embargo_ms = embargo_bars(60, HORIZONS) * 60_000
    return fit_size([series], windows, HORIZONS, stretches(windows.end_times, 6), embargo_ms)


@pytest.fixture(scope="module")
def bursts() -> Series:
    """Volatility that comes in bursts of some ten bars."""
    noise = np.random.default_rng(1)
    level = np.zeros(6000)
    for i in range(1, len(level)):
        level[i] = 0.9 * level[i - 1] + 0.35 * noise.normal()
    return market(2, 0.001 * np.exp(level))


def test_where_volatility_comes_in_bursts_the_line_knows_the_size_better(bursts: Series) -> None:
    line, expected = fitted(bursts)
    windows = windows_of([bursts], Span(0, bursts.end_time + 1), 60, HORIZONS)
    moved = np.abs(windows.targets)
    for place in range(len(HORIZONS)):
        told = expected[:, place]
        plain = np.full(len(told), np.log(moved[:, place].mean()))
        gained = plain + moved[:, place] / np.exp(plain) - told - moved[:, place] / np.exp(told)
        assert gained.mean() > 3 * gained.std() / np.sqrt(len(gained)) * np.sqrt(HORIZONS[place])
    assert np.abs(line.kernel).max() > 0


def test_the_expected_size_is_the_mean_size(bursts: Series) -> None:
    _, expected = fitted(bursts)
    windows = windows_of([bursts], Span(0, bursts.end_time + 1), 60, HORIZONS)
    assert (np.abs(windows.targets) / np.exp(expected)).mean(axis=0) == pytest.approx(1, abs=0.02)


def test_in_too_short_a_series_the_scale_is_the_trailing_one() -> None:
    line, expected = fitted(market(3, np.full(110, 0.001)))
    assert not line.kernel.any()
    assert np.ptp(expected, axis=0) == pytest.approx(0)


def test_the_inputs_do_not_depend_on_price_level_or_unit_of_volume_and_one_alone_on_pace(
    bursts: Series,
) -> None:
    ends = np.arange(100, 200)
    found = size_inputs(bursts.bars, 60, ends)
    other = np.concatenate([bursts.bars[:, :4] * 37, bursts.bars[:, 4:] * 1e4], axis=1)
    np.testing.assert_allclose(size_inputs(other, 60, ends), found, atol=1e-5)
    wild = replace(bursts, bars=np.concatenate([bursts.bars[:, :4] ** 3, bursts.bars[:, 4:]], 1))
    other = size_inputs(wild.bars, 60, ends)
    np.testing.assert_allclose(other[:, :-1], found[:, :-1], atol=1e-5)
    np.testing.assert_allclose(other[:, -1] - found[:, -1], np.log(3), atol=1e-5)


def test_a_window_is_seen_alike_alone_and_among_others(bursts: Series) -> None:
    alone = size_inputs(bursts.bars[140:201], 60, np.array([60]))
    np.testing.assert_array_equal(alone, size_inputs(bursts.bars, 60, np.array([200])))


def test_a_market_that_stands_still_has_inputs_all_the_same() -> None:
    assert np.isfinite(size_inputs(np.ones((61, 6)), 60, np.array([60]))).all()
    silent = np.ones((61, 6))
    silent[:, 4:] = 0
    assert np.isfinite(size_inputs(silent, 60, np.array([60]))).all()
