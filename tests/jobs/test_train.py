import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from conf.errors import ConfigurationError, NotEnoughBars
from jobs.evaluate import evaluate_files, write_rows
from jobs.models import print_models, promote_version, roll_back
from jobs.retrain import Bounds, LiveFigures, reason_to_retrain, retrain
from jobs.train import TrainResult, compete, report, train
from model.dataset import Span
from model.decisions import decisions
from model.news import has_news
from model.planted import planted_series
from model.promotion import GateSettings
from model.registry import Registry
from model.series import Series
from model.training import ModelSettings, TrainedModel
from model.walk_forward import FoldSettings
from store.archived_news import with_archived_news
from store.series import read_warehouse
from tests import tables
from tests.synthetic import START, random_series, write_file

PART = Span(START, START + 1200 * 60_000)
LATER = Span(START + 1200 * 60_000, START + 1500 * 60_000)
GATE = GateSettings(level=0.05, min_windows=100)
DAY = dt.datetime(2024, 1, 8, tzinfo=dt.UTC)
BOUNDS = Bounds(live_windows=100, min_skill=-0.01, coverage_tolerance=0.05)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "models")


@pytest.fixture
def first(
    registry: Registry, trained: TrainedModel, momentum_series: Sequence[Series], tmp_path: Path
) -> TrainResult:
    """A registered model that is champion."""
    return compete(trained, momentum_series, PART, LATER, registry, tmp_path / "promotions", GATE)


def test_a_first_model_with_skill_becomes_champion(first: TrainResult, registry: Registry) -> None:
    assert first.promoted
    assert registry.champion("1m") == "1m-1"
    assert registry.load("1m-1").manifest.metrics["skill_1"] == first.metrics[1]["lstm"].skill


def test_a_model_is_judged_on_bars_that_it_did_not_see(
    registry: Registry, momentum_series: Sequence[Series], small: ModelSettings, tmp_path: Path
) -> None:
    result = train(momentum_series, small, registry, tmp_path / "promotions", 0.2, GATE)
    assert result.model.manifest.trained_until <= result.part.end < result.held_back.start
    assert result.decision.verdict.judged_from == result.held_back.start


def test_the_report_holds_its_figures(
    first: TrainResult, registry: Registry, momentum_series: Sequence[Series], tmp_path: Path
) -> None:
    page = report(first, momentum_series, registry, tmp_path / "reports", 0.02)
    text = page.read_text()
    assert text.count("data:image/png;base64,") == 7
    assert 'src="http' not in text
    assert "<link" not in text
    assert all(name in text for name in ("LSTM", "ARIMA", "ridge", "persistence"))
    run = next((tmp_path / "models" / "runs").rglob("loss.png"))
    assert run.read_bytes() == (page.parent / "loss.png").read_bytes()


def test_retraining_tries_scratch_and_the_champions_weights(
    first: TrainResult,
    registry: Registry,
    momentum_series: Sequence[Series],
    small: ModelSettings,
    tmp_path: Path,
) -> None:
    made = retrain(
        momentum_series[:1],
        small,
        registry,
        tmp_path / "promotions",
        tmp_path / "reports",
        0.2,
        GATE,
        adapt_rate=0.02,
    )
    assert [d.challenger for d in made] == ["1m-2", "1m-3"]
    assert made[0].champion == "1m-1"
    rows = decisions(tmp_path / "promotions")
    assert [row["challenger"] for row in rows] == ["1m-1", "1m-2", "1m-3"]


def test_a_run_that_dies_before_the_gate_leaves_the_champion(
    first: TrainResult, registry: Registry, small: ModelSettings, tmp_path: Path
) -> None:
    with pytest.raises(NotEnoughBars):
        retrain(
            [random_series(40, seed=61)],
            small,
            registry,
            tmp_path / "promotions",
            tmp_path / "reports",
            0.2,
            GATE,
            adapt_rate=0.02,
        )
    assert registry.champion("1m") == "1m-1"


def test_promote_and_rollback_change_the_champion_in_one_step(
    first: TrainResult,
    registry: Registry,
    trained: TrainedModel,
    momentum_series: Sequence[Series],
    tmp_path: Path,
) -> None:
    promotions = tmp_path / "promotions"
    second = compete(trained, momentum_series, PART, LATER, registry, promotions, GATE)
    assert not second.promoted
    assert promote_version(registry, promotions, second.version, "to look") == "1m-2-unproven"
    assert registry.champion("1m") == "1m-2-unproven"  # the gate refused it, and rows say so
    assert roll_back(registry, promotions, "1m") == "1m-1"
    assert registry.champion("1m") == "1m-1"
    with pytest.raises(ConfigurationError, match="replaced no other"):
        roll_back(registry, promotions, "1m")
    assert [row["action"] for row in decisions(promotions)] == [
        "gate",
        "gate",
        "promote",
        "rollback",
    ]


def test_the_list_of_models_marks_the_champion(first: TrainResult, registry: Registry) -> None:
    console = Console(width=120)
    with console.capture() as shown:
        print_models(console, registry.models())
    assert "champion" in shown.get()
    assert "beats persistence" in shown.get()


@pytest.mark.parametrize(
    ("last", "figures", "expected"),
    [
        (None, None, "no challenger was ever judged"),
        (DAY - dt.timedelta(days=7), None, "the weekly challenger is due"),
        (DAY - dt.timedelta(days=2), LiveFigures(100, -0.02, 0.9), "live skill -2.00% is below"),
        (DAY - dt.timedelta(days=2), LiveFigures(100, 0.02, 0.8), "live coverage 80.0% is far"),
    ],
)
def test_reasons_to_retrain(
    last: dt.datetime | None, figures: LiveFigures | None, expected: str
) -> None:
    reason = reason_to_retrain(DAY, last, "weekly", figures, 0.9, BOUNDS)
    assert reason is not None
    assert reason.startswith(expected)


@pytest.mark.parametrize(
    ("age", "figures"),
    [
        (dt.timedelta(days=2), None),
        (dt.timedelta(days=2), LiveFigures(100, 0.01, 0.91)),
        (dt.timedelta(days=2), LiveFigures(99, -0.5, 0.2)),
        (dt.timedelta(hours=1), LiveFigures(100, -0.5, 0.2)),
    ],
)
def test_no_reason_to_retrain(age: dt.timedelta, figures: LiveFigures | None) -> None:
    assert reason_to_retrain(DAY, DAY - age, "weekly", figures, 0.9, BOUNDS) is None


def test_what_has_drifted_is_a_reason_to_retrain_a_day_after_the_last_try() -> None:
    drift = ["feature volume of 1m-1: PSI 0.40"]
    before = [DAY - dt.timedelta(hours=hours) for hours in (25, 23)]
    reasons = [reason_to_retrain(DAY, at, "weekly", None, 0.9, BOUNDS, drift) for at in before]
    assert reasons == ["drifted: feature volume of 1m-1: PSI 0.40", None]


def test_evaluation_writes_a_row_a_series_and_names_what_it_left_out(
    small: ModelSettings, tmp_path: Path
) -> None:
    write_file(tmp_path / "long.csv.gz", random_series(1000, seed=62, momentum=0.4))
    write_file(tmp_path / "short.csv.gz", random_series(50, seed=63))
    console = Console(width=200)
    with console.capture() as shown:
        rows = evaluate_files(
            sorted(tmp_path.glob("*.csv.gz")), small, FoldSettings(2, 0.7), 0.02, 0.15, console
        )
    write_rows(tmp_path / "evaluate.json", rows)
    (row,) = json.loads((tmp_path / "evaluate.json").read_text())
    assert row["series"] == "long"
    assert row["rows"] == 1000
    assert row["skill"]["lstm"] > 0.05
    assert 0.8 < row["coverage_90"] <= 1
    assert "left out: short" in shown.get()


def test_evaluation_gives_the_same_figures_again(small: ModelSettings, tmp_path: Path) -> None:
    write_file(tmp_path / "x.csv.gz", random_series(700, seed=64, momentum=0.4))
    arguments = ([tmp_path / "x.csv.gz"], small, FoldSettings(1, 0.7), 0.02, 0.15)
    first, again = (evaluate_files(*arguments, Console(quiet=True))[0] for _ in range(2))
    assert replace(first, seconds=0) == replace(again, seconds=0)


def test_with_news_one_challenger_more_reads_them(
    registry: Registry, small: ModelSettings, tmp_path: Path
) -> None:
    series = [planted_series(seed=3, effect=0.2, n_bars=900)]
    made = retrain(
        series,
        small,
        registry,
        tmp_path / "promotions",
        tmp_path / "reports",
        0.3,
        GATE,
        adapt_rate=0.02,
        read_news=True,
    )
    readers = [registry.load(d.challenger).manifest.reads_news for d in made]
    assert readers == [False, True]
    assert made[1].verdict.skill > made[0].verdict.skill


def test_the_gate_compares_a_champion_that_reads_news_with_one_that_does_not(
    registry: Registry, small: ModelSettings, tmp_path: Path
) -> None:
    series = [planted_series(seed=3, effect=0.4, n_bars=900)]
    promotions = tmp_path / "promotions"
    first = train(series, small, registry, promotions, 0.3, GATE, True)
    reader = train(series, small, registry, promotions, 0.3, GATE, read_news=True)
    again = train(series, small, registry, promotions, 0.3, GATE)
    assert reader.decision.champion == registry.canonical(first.version)
    assert reader.promoted
    assert registry.champion("1h") == reader.version
    assert not again.promoted
    assert "the champion" in again.reason or "persistence" in again.reason


def test_archived_articles_are_the_news_of_the_archived_bars(tmp_path: Path) -> None:
    close = tables.random_walk(10, seed=1)
    articles = pd.DataFrame(
        {
            "provider": "wire",
            "id": ["1", "2", "2"],
            "published_at": tables.START,
            "available_at": [tables.START + i * tables.MINUTE for i in (3, 5, 7)],
            "title": "Up",
            "source": "wire",
            "url": "",
            "coins": ["BTC,ETH", "", ""],
            "score": [0.5, -0.5, -0.5],
            "weight": 1.0,
        }
    )
    tables.write(tmp_path, "bars", tables.bars(close))
    (plain,) = with_archived_news(read_warehouse(tmp_path, "1m"), tmp_path)
    assert not has_news(plain)
    tables.write(tmp_path, "articles", articles)
    (told,) = with_archived_news(read_warehouse(tmp_path, "1m"), tmp_path)
    assert told.bars[:, 6].tolist() == [0, 0, 0, 1, 0, 1, 0, 0, 0, 0]
