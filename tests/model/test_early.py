"""What is learned of the next bars beside their closes."""

import numpy as np
from numpy.typing import NDArray

from model.dataset import Span, windows_of
from model.early import EARLY, early_targets, first_horizon
from tests.synthetic import START, random_bars, random_series


def bars_that_open_elsewhere(seed: int) -> NDArray[np.float64]:
    """Twenty bars, each of which opens a little over the close before."""
    bars = random_bars(20, seed)
    bars[:, 0] *= 1.0001
    return bars


def test_early_targets_are_moves_to_the_prices_of_the_next_bars() -> None:
    bars = bars_that_open_elsewhere(seed=41)
    found = dict(zip(EARLY, early_targets(bars, np.array([9]), np.array([0.01]))[0], strict=True))
    log = np.log(bars[:, :4])
    middle = (log[:, 1] + log[:, 2]) / 2
    actual = {
        "average": log[10].mean(),
        "open": log[10, 0],
        "middle_2": middle[10:12].mean(),
        "middle_5": middle[10:15].mean(),
    }
    for name, price in actual.items():
        assert np.isclose(found[name], (price - log[9, 3]) / 0.01)


def test_an_early_target_that_is_missing_is_no_move() -> None:
    bars = bars_that_open_elsewhere(seed=42)
    bars[13] = np.nan
    average, opens, two, five = early_targets(bars, np.array([10]), np.array([0.01]))[0]
    assert five == 0
    assert 0 not in (average, opens, two)


def test_early_targets_do_not_look_beyond_the_part() -> None:
    series = random_series(300, seed=43)
    part = Span(START, START + 200 * 60_000)
    before = windows_of([series], part, 16, (1, 3)).early
    series.bars[200:] *= 3
    np.testing.assert_array_equal(windows_of([series], part, 16, (1, 3)).early, before)


def test_an_early_forecast_counts_at_the_first_horizon_as_far_as_it_tells_of_it() -> None:
    actual = np.random.default_rng(44).uniform(-1, 1, size=(2000, 2))
    noise = np.random.default_rng(45).normal(size=2000)
    outputs = np.column_stack([actual, actual[:, 0] / 2, noise])
    mixed = first_horizon(outputs, actual, 1, [0.2, 0.2])
    np.testing.assert_allclose(mixed[:3], [[0.6, 0], [0, 1], [0.3, 0]], atol=0.1)
    assert abs(mixed[3, 0]) < 0.02
