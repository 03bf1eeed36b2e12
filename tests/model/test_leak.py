from dataclasses import replace

import numpy as np

from conf.sections import Evaluation, Market
from model.leaders import with_leaders
from model.leak import check_for_leak, shuffled_bars
from model.series import Series
from model.training import ModelSettings
from tests.synthetic import random_series

FOLDS = Evaluation(folds=2, first_train_share=0.6)


def test_shuffled_bars_show_no_skill(small: ModelSettings) -> None:
    shuffled = shuffled_bars(random_series(1500, seed=41, momentum=0.4), seed=1)
    check = check_for_leak(shuffled, small, FOLDS)
    assert not check.leaks
    assert check.skill < 0.01


def test_a_planted_leak_is_noticed(small: ModelSettings) -> None:
    shuffled = shuffled_bars(random_series(1500, seed=41, momentum=0.4), seed=1)
    assert check_for_leak(_with_target_in_volume(shuffled), small, FOLDS).leaks


def test_shuffling_keeps_each_bars_return_and_shape() -> None:
    series = random_series(300, seed=42)
    shuffled = shuffled_bars(series, seed=1)
    before, after = (np.sort(s.bars[:, 1] / s.bars[:, 3]) for s in (series, shuffled))
    np.testing.assert_allclose(before, after)
    np.testing.assert_allclose(series.close[-1], shuffled.close[-1])


def test_shuffling_leaves_gaps_where_they_were() -> None:
    series = random_series(300, seed=43)
    series.bars[100:110] = np.nan
    shuffled = shuffled_bars(series, seed=1)
    np.testing.assert_array_equal(np.isnan(series.close), np.isnan(shuffled.close))


def _with_target_in_volume(series: Series) -> Series:
    """Each bar's volume tells the return of the next."""
    following = np.append(np.diff(np.log(series.close)), 0.0)
    bars = series.bars.copy()
    bars[:, 4] = np.exp(300 * following)
    return replace(series, bars=bars)


def led_series() -> Series:
    """A series whose leader moves with it at the same time, each bar by chance."""
    own, leader = random_series(1500, seed=44, symbol="ETH-USD"), random_series(1500, seed=44)
    (read,) = with_leaders([own], Market(leaders=["BTC-USD"]).of, [leader])
    return read


def test_a_leader_is_shuffled_in_the_same_order() -> None:
    shuffled = shuffled_bars(led_series(), seed=1)
    np.testing.assert_allclose(shuffled.bars[:, 6:], shuffled.bars[:, :6])


def test_a_leader_that_is_read_a_bar_too_early_is_noticed(small: ModelSettings) -> None:
    shuffled = shuffled_bars(led_series(), seed=1)
    assert not check_for_leak(shuffled, small, FOLDS).leaks
    bars = shuffled.bars.copy()
    bars[:-1, 6:] = shuffled.bars[1:, 6:]
    assert check_for_leak(replace(shuffled, bars=bars), small, FOLDS).leaks
