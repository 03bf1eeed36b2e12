from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.challengers import first_promotion
from conf.errors import AlreadyRunning
from conf.sections import Promotion
from model.artifact import Artifact, load_artifact, save_artifact
from model.dataset import Span
from model.decisions import Arena, decide_and_record, deciding, decisions, level_left
from model.features import FEATURE_NAMES, sequence_steps
from model.onnx_export import export_onnx
from model.outcomes import Outcomes
from model.promotion import ALONE, compared, in_volatilities, judge
from model.registry import Registry
from model.series import Series
from model.training import TrainedModel
from tests.artifacts import save_random_artifact
from tests.synthetic import START, random_series

GATE = Promotion(level=0.05, min_windows=100)
LATER = Span(START + 1200 * 60_000, START + 1500 * 60_000)


def _with_gain(trained: TrainedModel, factor: float | Sequence[float]) -> Artifact:
    """The same model, its forecasts multiplied, by one factor or by one a horizon."""
    weights = replace(
        trained.weights,
        network_gain=trained.weights.network_gain * np.asarray(factor, np.float32),
        linear_gain=trained.weights.linear_gain * np.asarray(factor, np.float32),
    )
    return replace(
        trained.artifact("1m-2"), onnx=export_onnx(weights, sequence_steps(16), trained.size)
    )


@pytest.fixture
def good(trained: TrainedModel) -> Artifact:
    return trained.artifact("1m-1")


def test_a_first_model_that_beats_persistence_passes(
    good: Artifact, momentum_series: Sequence[Series]
) -> None:
    verdict = judge(good, None, momentum_series, LATER, GATE)
    assert verdict.promoted
    assert verdict.p_persistence < 0.05


def test_a_first_model_without_skill_is_rejected(good: Artifact) -> None:
    unpredictable = [random_series(1500, seed=31)]
    verdict = judge(good, None, unpredictable, LATER, GATE)
    assert not verdict.promoted
    assert verdict.reason.startswith("does not beat persistence")


def test_a_model_that_repeats_the_last_price_at_later_horizons_is_not_worse_there(
    trained: TrainedModel, momentum_series: Sequence[Series]
) -> None:
    gains = [1.0] + [0.0] * (len(trained.manifest.horizons) - 1)
    assert len(gains) > 1
    assert judge(_with_gain(trained, gains), None, momentum_series, LATER, GATE).promoted


def test_a_model_that_says_neither_where_nor_how_far_does_not_beat_persistence(
    trained: TrainedModel, momentum_series: Sequence[Series]
) -> None:
    assert trained.size is not None
    line = trained.size
    says_nothing = replace(line, kernel=np.zeros_like(line.kernel), bias=np.zeros_like(line.bias))
    model = _with_gain(replace(trained, size=says_nothing), 0.0)
    verdict = judge(model, None, momentum_series, LATER, GATE)
    assert not verdict.promoted
    assert verdict.reason.startswith("does not beat persistence")
    assert verdict.proven == "nothing yet"


def test_where_volatility_never_changes_a_model_can_be_proven_in_where_alone(
    good: Artifact, momentum_series: Sequence[Series]
) -> None:
    assert judge(good, None, momentum_series, LATER, GATE).proven == "where"


def test_a_better_challenger_passes(
    trained: TrainedModel, good: Artifact, momentum_series: Sequence[Series]
) -> None:
    verdict = judge(good, _with_gain(trained, 0.2), momentum_series, LATER, GATE)
    assert verdict.promoted
    assert verdict.skill > verdict.champion_skill


def test_an_equal_challenger_is_rejected(good: Artifact, momentum_series: Sequence[Series]) -> None:
    verdict = judge(good, good, momentum_series, LATER, GATE)
    assert not verdict.promoted
    assert "does not beat the champion" in verdict.reason


def test_a_worse_challenger_is_rejected(
    trained: TrainedModel, good: Artifact, momentum_series: Sequence[Series]
) -> None:
    verdict = judge(_with_gain(trained, 0.5), good, momentum_series, LATER, GATE)
    assert not verdict.promoted


def test_a_challenger_that_forecasts_nan_is_rejected(
    trained: TrainedModel, momentum_series: Sequence[Series]
) -> None:
    verdict = judge(_with_gain(trained, np.nan), None, momentum_series, LATER, GATE)
    assert not verdict.promoted
    assert verdict.reason.startswith("cannot be served")


def test_a_challenger_of_an_unknown_feature_is_rejected_by_its_name(
    good: Artifact, momentum_series: Sequence[Series]
) -> None:
    other = replace(good, manifest=good.manifest.model_copy(update={"feature_names": ("moon",)}))
    verdict = judge(other, None, momentum_series, LATER, GATE)
    assert not verdict.promoted
    assert "trained on features moon" in verdict.reason


def random_artifact(folder: Path, **kwargs: Any) -> Artifact:
    """A model of random weights, of lookback 16 like the others, trained on nothing."""
    save_random_artifact(folder, seed=1, lookback=kwargs.pop("lookback", 16), **kwargs)
    return load_artifact(folder, "1m-0")


@pytest.mark.parametrize(
    "champion",
    [
        {"names": FEATURE_NAMES[:5]},
        {"names": FEATURE_NAMES[::-1]},
        {"horizons": (1, 3, 9)},
        {"horizons": (3, 1)},
        {"lookback": 40},
    ],
    ids=["fewer features", "another order", "more horizons", "horizons turned round", "lookback"],
)
def test_a_champion_of_another_make_is_beaten_on_what_both_have(
    good: Artifact, momentum_series: Sequence[Series], tmp_path: Path, champion: dict[str, Any]
) -> None:
    verdict = judge(good, random_artifact(tmp_path, **champion), momentum_series, LATER, GATE)
    assert verdict.promoted
    assert verdict.reason.startswith("beats the champion")
    assert verdict.champion_skill < verdict.skill


def test_the_first_horizon_that_both_have_decides_against_the_champion(
    good: Artifact, momentum_series: Sequence[Series], tmp_path: Path
) -> None:
    assert good.manifest.horizons == (1, 3)
    at_three = random_artifact(tmp_path / "three", horizons=(3, 5))
    at_both = random_artifact(tmp_path / "both", horizons=(1, 3))
    skills = {
        name: judge(good, champion, momentum_series, LATER, GATE)
        for name, champion in (("three", at_three), ("both", at_both), ("none", None))
    }
    assert skills["three"].skill == skills["both"].skill == skills["none"].skill
    assert skills["three"].champion_skill != skills["both"].champion_skill


def test_without_a_horizon_in_common_persistence_alone_is_to_be_beaten(
    good: Artifact, momentum_series: Sequence[Series], tmp_path: Path
) -> None:
    champion = random_artifact(tmp_path, horizons=(2, 7))
    verdict = judge(good, champion, momentum_series, LATER, GATE)
    assert verdict.promoted
    assert verdict.reason.endswith("; no horizon in common with the champion")
    assert np.isnan(verdict.p_champion)


JUMPS = {
    "once tenfold": [(1300, 10.0)],
    "down to a thousandth": [(1250, 0.001)],
    "there and back": [(1220, 10.0), (1221, 0.1)],
    # A fifth within five hours leaves too few windows to tell (p 0.08): the gate waits for more.
    "again and again": [(1210 + 60 * i, 10.0 ** (-1) ** i) for i in range(4)],
    "as the last bar": [(1499, 10.0)],
}


def with_jumps(series: Series, jumps: Sequence[tuple[int, float]]) -> Series:
    """The same bars, from each of the rows on all prices times a factor."""
    bars = series.bars.copy()
    for row, factor in jumps:
        bars[row:, :4] *= factor
    return replace(series, bars=bars)


@pytest.mark.parametrize("jumps", JUMPS.values(), ids=JUMPS.keys())
def test_absurd_moves_of_one_symbol_do_not_block_a_model_of_skill(
    good: Artifact, momentum_series: Sequence[Series], jumps: Sequence[tuple[int, float]]
) -> None:
    odd = [with_jumps(momentum_series[0], jumps), momentum_series[1]]
    verdict = judge(good, None, odd, LATER, GATE)
    assert verdict.promoted, verdict.reason
    assert verdict.skill > 0.5 * judge(good, None, momentum_series, LATER, GATE).skill


@pytest.mark.parametrize("jumps", JUMPS.values(), ids=JUMPS.keys())
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_absurd_moves_do_not_promote_a_model_without_skill(
    trained: TrainedModel, jumps: Sequence[tuple[int, float]], sign: float
) -> None:
    odd = [with_jumps(random_series(1500, seed=31), jumps), random_series(1500, 32, symbol="C-D")]
    assert not judge(_with_gain(trained, sign), None, odd, LATER, GATE).promoted


def test_quiet_minutes_count_no_more_than_they_move(good: Artifact) -> None:
    trailing = np.array([1.0, 1.0, 1.0, 0.01, 50.0]) * 0.001
    first, count = good.manifest.horizons[0], len(trailing)
    outcomes = Outcomes(
        symbol=np.full(count, "BTC-USD"),
        time=np.arange(count),
        horizon=np.full(count, first),
        last_close=np.ones(count),
        actual=np.full(count, 0.001),
        forecasts={},
        scale=trailing,
        trailing=trailing,
    )
    assert in_volatilities(outcomes).actual == pytest.approx([1, 1, 1, 1, 0.02])


@pytest.mark.parametrize(("count", "promoted"), [(900, True), (3_000, False)])
def test_a_far_horizon_of_which_few_windows_lie_apart_decides_nothing(
    count: int, promoted: bool
) -> None:
    noise = np.random.default_rng(3).normal(0, 0.001, (3, count, 2))
    size = np.full((count, 2), 0.001)
    widths = size[:, :, None] * [0.7, 1.3, 1.6]
    outcomes = Outcomes.of_windows(
        "BTC-USD",
        np.arange(count) * 60_000,
        (1, 60),
        np.column_stack([np.ones(count), np.exp(noise[0])]),
        # Knows half of the next move, and is far off at the other horizon.
        {"challenger": noise[0] * [0.5, 0] + noise[1] * [0, 2]},
        size,
        size,
        {"challenger": widths, **dict.fromkeys(ALONE, widths)},
    )
    verdict = compared(in_volatilities(outcomes), (1, 60), None, LATER, GATE)
    assert verdict.promoted == promoted, verdict.reason


def test_windows_of_many_symbols_at_one_time_count_as_one(
    good: Artifact, momentum_series: Sequence[Series]
) -> None:
    many = [replace(momentum_series[0], symbol=f"A{i}-B") for i in range(40)]
    short = Span(LATER.start, LATER.start + 60 * 60_000)
    verdict = judge(good, None, many, short, GATE)
    assert not verdict.promoted
    assert "58 times unseen by both, 100 are needed" in verdict.reason


@pytest.mark.parametrize("moved", [0.0, 1e-5], ids=["constant", "one tick"])
def test_where_the_price_stands_still_nothing_is_better_than_nothing(
    good: Artifact, moved: float
) -> None:
    bars = np.ones((1500, 6))
    bars[700:, :4] += moved
    bars[:, 4:] = 0.0
    verdict = judge(good, None, [Series("USDC-USD", "1m", START, bars)], LATER, GATE)
    assert not verdict.promoted
    assert verdict.reason.startswith("does not beat persistence")


def test_a_year_of_challengers_without_skill_promotes_about_one_in_twenty() -> None:
    found = [first_promotion(seed, GATE) for seed in range(8)]
    assert sum(week is not None for week in found) <= 2


def test_challengers_of_skill_pass_within_the_year() -> None:
    weeks = [first_promotion(seed, GATE, skill=0.02) for seed in range(4)]
    assert all(week is not None and week <= 26 for week in weeks)


def test_the_levels_of_a_year_add_up_to_the_level() -> None:
    rows: list[dict[str, Any]] = []
    for day in range(800):
        until_ms = day * 86_400_000
        level = level_left(rows, "1m", until_ms, 0.05)
        assert level > 0
        at = datetime.fromtimestamp(until_ms / 1000, UTC)
        rows.append({"interval": "1m", "judged_until": at, "level": level})
    spent = np.array([row["level"] for row in rows])
    assert max(spent[at : at + 365].sum() for at in range(len(spent))) <= 0.05 + 1e-12
    assert level_left(rows, "1h", 0, 0.05) == 0.025


def test_a_challenger_of_another_interval_is_rejected(
    good: Artifact, momentum_series: Sequence[Series]
) -> None:
    other = replace(good, manifest=good.manifest.model_copy(update={"interval": "1h"}))
    verdict = judge(other, good, momentum_series, LATER, GATE)
    assert verdict.reason == "trained on 1h bars, judged on 1m bars"


def test_bars_that_either_was_trained_on_are_not_judged(
    good: Artifact, momentum_series: Sequence[Series]
) -> None:
    seen = good.manifest.model_copy(update={"trained_until": LATER.end - 30 * 60_000})
    verdict = judge(good, replace(good, manifest=seen), momentum_series, LATER, GATE)
    assert not verdict.promoted
    assert verdict.judged_from == LATER.end - 30 * 60_000
    assert "100 are needed" in verdict.reason


def _register(registry: Registry, trained: TrainedModel, onnx: bytes, folder: Path) -> str:
    files = {"model.onnx": onnx, "model.keras": trained.keras()}
    save_artifact(folder, trained.manifest, files)
    return registry.register(folder, "1m")


def test_each_decision_is_a_row_and_a_tag(
    registry: Registry, trained: TrainedModel, momentum_series: Sequence[Series], tmp_path: Path
) -> None:
    arena = Arena(registry, tmp_path / "promotions", GATE)
    first = _register(registry, trained, trained.onnx, tmp_path / "a")
    second = _register(registry, trained, trained.onnx, tmp_path / "b")
    for version in (first, second):
        decide_and_record(arena, version, momentum_series, LATER)
    rows = decisions(arena.promotions_dir)
    assert [(r["challenger"], r["champion"], r["promoted"]) for r in rows] == [
        ("1m-1", None, True),
        ("1m-2", "1m-1", False),
    ]
    assert registry.champion("1m") == "1m-1"
    kept = registry.models("1m")[0]
    assert kept.tags["promoted"] == "false"
    assert "does not beat the champion" in kept.tags["reason"]


def test_a_first_model_without_skill_serves_only_on_demand_and_marked(
    registry: Registry, trained: TrainedModel, tmp_path: Path
) -> None:
    series = [random_series(1500, seed=31)]
    arena = Arena(registry, tmp_path / "promotions", GATE)
    version = _register(registry, trained, trained.onnx, tmp_path / "a")
    decide_and_record(arena, version, series, LATER)
    assert registry.champion("1m") is None
    decide_and_record(replace(arena, allow_unproven=True), version, series, LATER)
    assert registry.champion("1m") == "1m-1-unproven"


def test_two_at_once_cannot_both_promote(
    registry: Registry, trained: TrainedModel, momentum_series: Sequence[Series], tmp_path: Path
) -> None:
    arena = Arena(registry, tmp_path / "promotions", GATE)
    version = _register(registry, trained, trained.onnx, tmp_path / "a")
    with (
        deciding(arena.promotions_dir),
        pytest.raises(AlreadyRunning, match="the choice of a champion is held by process"),
    ):
        decide_and_record(arena, version, momentum_series, LATER)
    assert registry.champion("1m") is None


def test_a_tampered_champion_is_replaced_by_what_beats_persistence(
    registry: Registry, trained: TrainedModel, momentum_series: Sequence[Series], tmp_path: Path
) -> None:
    arena = Arena(registry, tmp_path / "promotions", GATE)
    first = _register(registry, trained, trained.onnx, tmp_path / "a")
    decide_and_record(arena, first, momentum_series, LATER)
    (registry.folder(first) / "model.onnx").write_bytes(b"tampered")
    other = _with_gain(trained, 0.9)
    second = _register(registry, trained, other.onnx, tmp_path / "b")
    assert decide_and_record(arena, second, momentum_series, LATER).verdict.promoted
    assert registry.champion("1m") == "1m-2"


def test_where_volatility_is_constant_a_better_average_of_it_is_not_proven_in_how_far() -> None:
    noise = np.random.default_rng(9)
    count, widths = 4000, np.array([0.6745, 1.2816, 1.6449])
    guesses = {
        name: np.exp(spread * noise.normal(size=count))
        for name, spread in (("challenger", 0.1), ("trailing", 0.2), ("constant", 0.0))
    }
    outcomes = Outcomes(
        symbol=np.full(count, "A-B"),
        time=np.arange(count),
        horizon=np.ones(count, np.int64),
        last_close=np.ones(count),
        actual=noise.normal(size=count),
        forecasts={"challenger": np.zeros(count)},
        scale=np.ones(count),
        trailing=np.ones(count),
        spreads={name: np.outer(guess, widths) for name, guess in guesses.items()},
    )
    verdict = compared(outcomes, (1,), None, Span(0, count), GATE)
    assert verdict.crps_skill > 0
    assert not verdict.promoted
    assert verdict.reason.startswith("does not beat persistence with constant volatility")
    assert verdict.proven == "nothing yet"


def test_a_challenger_that_believes_trailing_volatility_further_ahead_is_not_worse_there() -> None:
    noise, count = np.random.default_rng(9), 4000
    size = np.exp(0.5 * noise.normal(size=count))  # known to the challenger, one bar ahead
    others, widths = np.ones(count), np.array([0.6745, 1.2816, 1.6449])
    told = {
        "challenger": (size, others),
        "trailing": (others, others),
        "constant": (others, 2 * others),
    }
    outcomes = Outcomes(
        symbol=np.full(2 * count, "A-B"),
        time=np.tile(np.arange(count), 2),
        horizon=np.repeat([1, 5], count),
        last_close=np.ones(2 * count),
        actual=np.concatenate([size, others]) * noise.normal(size=2 * count),
        forecasts={"challenger": np.zeros(2 * count)},
        scale=np.ones(2 * count),
        trailing=np.ones(2 * count),
        spreads={name: np.outer(np.concatenate(one), widths) for name, one in told.items()},
    )
    verdict = compared(outcomes, (1, 5), None, Span(0, count), GATE)
    assert verdict.promoted, verdict.reason
    assert verdict.proven == "how far"
