import numpy as np
import pytest

from model.features import (
    FEATURE_NAMES,
    bar_features,
    bars_needed,
    complete_windows,
    mirrored,
    sequence_steps,
    trailing_sum,
    window_targets,
)
from tests.synthetic import random_bars, window_features


def test_a_window_with_a_missing_bar_is_not_complete() -> None:
    close = np.arange(1.0, 31.0)
    close[15] = np.nan
    complete = complete_windows(close, lookback=10)
    assert np.flatnonzero(complete).tolist() == [10, 11, 12, 13, 14, 26, 27, 28, 29]


def test_a_series_shorter_than_a_window_has_no_complete_one() -> None:
    assert not complete_windows(np.ones(10), lookback=10).any()


def test_features_of_a_window_need_only_the_bars_that_the_stream_keeps() -> None:
    bars, count = random_bars(300, seed=1), bars_needed(60)
    whole, whole_scale = window_features(bars, np.array([250]), 60)
    alone, alone_scale = window_features(bars[251 - count : 251], np.array([count - 1]), 60)
    np.testing.assert_array_equal(whole, alone)
    np.testing.assert_array_equal(whole_scale, alone_scale)


def test_features_do_not_change_when_later_bars_do() -> None:
    bars = random_bars(300, seed=2)
    changed = bars.copy()
    changed[251:] *= 3
    before, _ = window_features(bars, np.array([250]), 60)
    after, _ = window_features(changed, np.array([250]), 60)
    np.testing.assert_array_equal(before, after)


def test_bars_of_two_symbols_may_lie_behind_one_another() -> None:
    first, second = random_bars(61, seed=3), random_bars(61, seed=4) * 50
    apart = [window_features(bars, np.array([60]), 60)[0] for bars in (first, second)]
    joined, _ = window_features(np.concatenate([first, second]), np.array([60, 121]), 60)
    np.testing.assert_array_equal(joined, np.concatenate(apart))


def test_features_do_not_know_the_price_level() -> None:
    bars = random_bars(100, seed=5)
    dearer = bars * np.array([1000, 1000, 1000, 1000, 1, 1000])
    cheap, _ = window_features(bars, np.array([99]), 60)
    dear, _ = window_features(dearer, np.array([99]), 60)
    np.testing.assert_allclose(cheap, dear, atol=1e-4)


@pytest.mark.parametrize("column", [4, 5])
def test_a_bar_without_volume_has_finite_features(column: int) -> None:
    bars = random_bars(100, seed=6)
    bars[:, column] = 0.0
    features, _ = window_features(bars, np.array([99]), 60)
    assert np.isfinite(features).all()


def test_an_unknown_quote_volume_is_a_gap_of_zero_to_the_average_price() -> None:
    bars = random_bars(100, seed=7)
    bars[:, 5] = np.nan
    features, _ = window_features(bars, np.array([99]), 60)
    assert (features[..., FEATURE_NAMES.index("vwap_gap")] == 0).all()


def test_a_price_that_stands_still_has_finite_features() -> None:
    bars = np.tile([5.0, 5.0, 5.0, 5.0, 1.0, 5.0], (100, 1))
    features, scale = window_features(bars, np.array([99]), 60)
    assert np.isfinite(features).all()
    assert scale[0] > 0


def test_no_window_gives_no_features() -> None:
    features, scale = window_features(random_bars(100, seed=8), np.array([], int), 60)
    assert features.shape == (0, sequence_steps(60), len(FEATURE_NAMES))
    assert scale.shape == (0,)


def test_the_target_is_the_return_over_its_expected_size() -> None:
    close = np.array([100.0, 101.0, 103.0])
    targets = window_targets(close, np.array([0]), np.array([0.01]), (1, 2))
    expected = [np.log(1.01) / 0.01, np.log(1.03) / (0.01 * np.sqrt(2))]
    np.testing.assert_allclose(targets[0], expected)


def test_in_a_mirror_every_move_goes_the_other_way_and_nothing_else_changes() -> None:
    bars = random_bars(100, seed=8)
    opened, high, low, close, base, quote = bars.T
    mirror = np.column_stack([1 / opened, 1 / low, 1 / high, 1 / close, base, base * base / quote])
    order, sign = mirrored(FEATURE_NAMES)
    seen, _ = bar_features(bars, 60)
    np.testing.assert_allclose(bar_features(mirror, 60)[0], seen[:, order] * sign, atol=1e-5)


@pytest.mark.parametrize("decay", [1.0, 0.9])
@pytest.mark.parametrize("span", [1, 2, 3, 7, 8, 29, 30])
def test_a_trailing_sum_is_that_of_its_own_window(span: int, decay: float) -> None:
    values = np.random.default_rng(span).normal(size=50)
    values[5] = np.nan
    weights = decay ** np.arange(span)[::-1]
    alone = [(values[end + 1 - span : end + 1] * weights).sum() for end in range(span - 1, 50)]
    sums = trailing_sum(values, span, decay)
    np.testing.assert_allclose(sums[span - 1 :], alone, rtol=1e-12)
    assert np.isnan(sums[: span - 1]).all()
    assert np.isnan(trailing_sum(values[: span - 1], span, decay)).all()


def test_a_model_may_name_some_features_in_any_order() -> None:
    bars = random_bars(100, seed=9)
    every, scale = bar_features(bars, 60)
    names = ("volume", "log_return", "paced_mid")
    some, same_scale = bar_features(bars, 60, names)
    np.testing.assert_array_equal(some, every[:, [FEATURE_NAMES.index(name) for name in names]])
    np.testing.assert_array_equal(scale, same_scale)
