from dataclasses import replace

import numpy as np

from conf.settings import Evaluation
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
