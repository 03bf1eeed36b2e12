import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from conf.errors import NotEnoughBars
from conf.sections import Evaluation
from model.dataset import (
    Span,
    apart,
    embargo_bars,
    inside,
    sequences_of,
    stretches,
    window_ends,
    windows_of,
)
from model.early import EARLY_BARS, columns
from model.features import FEATURE_NAMES, complete_windows
from model.forecast import Forecaster
from model.layout import QUOTE_VOLUME
from model.scorecard import score_market
from model.series import Series
from model.training import ModelSettings, TrainedModel, fit_model
from model.validate import forecast_outcomes, held_out_metrics
from model.volatility import VOLATILITIES
from tests.model.test_baselines import prices
from tests.synthetic import START, random_series

LATER = Span(START + 1200 * 60_000, START + 1500 * 60_000)


def test_what_can_be_learned_is_learned(
    trained: TrainedModel, momentum_series: Sequence[Series]
) -> None:
    found = held_out_metrics(trained.artifact("1m-1"), momentum_series, LATER)[1]
    assert found["lstm"].skill > 0.08
    assert found["persistence"].skill == 0


def test_where_nothing_can_be_learned_the_forecast_is_the_last_price(small: ModelSettings) -> None:
    series = [random_series(2500, seed=21)]
    part = Span(START, START + 1500 * 60_000)
    trained = fit_model(series, part, small)
    later = Span(START + 1500 * 60_000, START + 2500 * 60_000)
    found = held_out_metrics(trained.artifact("1m-1"), series, later)[1]
    assert found["lstm"].skill > -0.005


def test_the_same_data_and_seed_give_the_same_model(
    trained: TrainedModel, momentum_series: Sequence[Series], small: ModelSettings
) -> None:
    again = fit_model(momentum_series, Span(0, START + 1200 * 60_000), small)
    assert again.onnx == trained.onnx
    assert again.manifest == trained.manifest


def test_another_seed_gives_another_model(
    trained: TrainedModel, momentum_series: Sequence[Series], small: ModelSettings
) -> None:
    other = replace(small, training=small.training.model_copy(update={"seed": 8}))
    assert fit_model(momentum_series, Span(0, START + 1200 * 60_000), other).onnx != trained.onnx


def test_training_does_not_see_what_comes_after_its_part(small: ModelSettings) -> None:
    series = random_series(900, seed=22, momentum=0.4)
    bars = series.bars.copy()
    bars[600:] *= 2
    changed = replace(series, bars=bars)
    part = Span(START, START + 600 * 60_000)
    assert fit_model([series], part, small).onnx == fit_model([changed], part, small).onnx


def test_a_volatility_is_fitted_to_nothing_later_where_the_series_begins_late(
    trained: TrainedModel,
) -> None:
    series, models = random_series(700, seed=28), {"lstm": Forecaster(trained.artifact("1m-1"))}
    bars = series.bars.copy()
    bars[500:, :4] *= np.exp(np.random.default_rng(1).normal(0, 0.05, (200, 1)))
    part = Span(START - 100 * 60_000, START + 400 * 60_000)
    spreads = [
        forecast_outcomes(one, part, models, volatile=VOLATILITIES).spreads["garch"]
        for one in (series, replace(series, bars=bars))
    ]
    np.testing.assert_array_equal(*spreads)


def test_every_window_is_held_out_once() -> None:
    times = windows_of([random_series(1000, seed=23)], Span(0, 10**15), 16, (1, 3)).end_times
    held_out = np.stack([inside(times, stretch) for stretch in stretches(times, 4)])
    assert (held_out.sum(axis=0) == 1).all()
    assert held_out.sum(axis=1).tolist() == pytest.approx([len(times) / 4] * 4, abs=1)


def test_a_member_is_trained_on_no_bar_of_the_stretch_that_it_is_validated_on() -> None:
    lookback, horizons = 16, (1, 3)
    series = random_series(1000, seed=23)
    times = windows_of([series], Span(0, series.end_time), lookback, horizons).end_times
    for stretch in stretches(times, 4):
        embargo_ms = embargo_bars(lookback, horizons) * series.bar_ms
        held_out = times[inside(times, stretch)] // series.bar_ms
        trained_on = times[apart(times, stretch, embargo_ms)] // series.bar_ms
        distance = np.abs(trained_on[:, None] - held_out)
        assert distance.min() >= lookback + EARLY_BARS
        assert len(trained_on) > len(times) / 2


def test_no_window_straddles_a_gap() -> None:
    series = random_series(200, seed=24)
    series.bars[100] = np.nan
    ends = window_ends(series, Span(0, series.end_time), 16, (1, 3))
    assert complete_windows(series.close, 16)[ends].all()
    assert not set(ends.tolist()) & {97, 99, *range(100, 117)}


@pytest.mark.parametrize("bars", [0, 2, 20])
def test_a_series_shorter_than_the_farthest_horizon_has_no_window(bars: int) -> None:
    series = random_series(max(bars, 1), seed=24).until(START + bars * 60_000)
    assert len(windows_of([series], Span(0, 10**15), 16, (1, 60))) == 0


def test_sequences_hold_the_target_of_each_window_once() -> None:
    series = random_series(500, seed=25)
    series.bars[[150, 321]] = np.nan
    part = Span(START + 50 * 60_000, START + 450 * 60_000)
    windows = windows_of([series], part, 16, (1, 3))
    sequences = sequences_of(windows)
    there = sequences.weights == 1
    assert there.sum() == len(windows)
    aims = np.clip(columns(windows.targets, windows.early, ["average", "open"]), -2, 2)
    np.testing.assert_allclose(sequences.targets[there], aims, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(sequences.end_times[there], windows.end_times)


def test_a_sequence_ends_each_target_with_the_windows_own_bars() -> None:
    series = random_series(300, seed=26)
    part = Span(0, series.end_time)
    windows = windows_of([series], part, 16, (1, 3))
    sequences = sequences_of(windows)
    np.testing.assert_array_equal(sequences.bars[sequences.rows[0, 3:11]], windows.features()[3])


def test_too_few_bars_say_how_many_windows_there_are(small: ModelSettings) -> None:
    series = random_series(60, seed=27)
    with pytest.raises(NotEnoughBars, match="complete windows in the training part"):
        fit_model([series], Span(0, series.end_time), small)


@pytest.mark.parametrize("kind", ["constant", "one tick", "a stablecoin"])
def test_a_market_that_hardly_moves_is_evaluated_with_figures_or_none(
    small: ModelSettings, kind: str
) -> None:
    close = prices(700, kind)
    bars = np.column_stack([close] * 4 + [np.zeros(700)] * 2)
    series = Series("A-B", "1m", START, bars)
    (row,) = score_market([series], small, Evaluation(folds=1))
    assert 0.8 <= row.coverage_90 <= 1
    assert all(0 <= p <= 1 for p in row.dm_p.values())
    for skill in row.skill.values():
        assert math.isnan(skill) or -0.5 < skill < 1


def test_too_few_bars_to_validate_a_member_on_are_said(small: ModelSettings) -> None:
    bars, settings = 110, replace(small, lookback=60)
    many = [random_series(bars, seed=seed, symbol=f"S{seed}-USD") for seed in range(6)]
    with pytest.raises(NotEnoughBars, match="windows are too few"):
        fit_model(many, Span(0, START + bars * 60_000), settings)


def test_a_feature_of_a_field_that_the_source_lacks_is_left_out(
    momentum_series: Sequence[Series], small: ModelSettings
) -> None:
    part = Span(START, START + 1200 * 60_000)
    trained = fit_model(momentum_series, part, replace(small, without={"quote_volume"}))
    assert set(FEATURE_NAMES) - set(trained.manifest.feature_names) == {"vwap_gap"}
    forecaster = Forecaster(trained.artifact("new"))
    blank = momentum_series[0].bars.copy()
    blank[:, QUOTE_VOLUME] = np.nan
    ends = np.array([600, 900])
    seen = [forecaster.predict(bars, ends) for bars in (momentum_series[0].bars, blank)]
    np.testing.assert_array_equal(seen[0].predicted_close, seen[1].predicted_close)
