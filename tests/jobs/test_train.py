import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import jobs.retrain
from conf.errors import ConfigurationError, NotEnoughBars
from conf.sections import Evaluation, Market, Promotion, Retrain
from conf.sections import Registry as RegistrySettings
from conf.settings import Settings
from jobs.evaluate import evaluate_files, read_market, write_rows
from jobs.models import print_models, promote_version, roll_back
from jobs.retrain import reason_now, retrain_if_due
from model.champions import Champions
from model.dataset import Span
from model.decisions import Arena, decisions
from model.due import LiveFigures, reason_to_retrain
from model.layout import Layout
from model.leaders import with_leaders
from model.learning import TrainResult, compete, readings, report, retrain, train
from model.planted import planted_series
from model.promotion import NOTHING
from model.registry import Registry
from model.scorecard import score_market
from model.series import Series
from model.training import ModelSettings, TrainedModel
from store.archived_news import with_archived_news
from store.recorded import series_files
from store.series import read_warehouse
from tests import tables
from tests.synthetic import START, led_by, random_series, write_file

PART = Span(START, START + 1200 * 60_000)
LATER = Span(START + 1200 * 60_000, START + 1500 * 60_000)
GATE = Promotion(level=0.05, min_windows=100)
DAY = dt.datetime(2024, 1, 8, tzinfo=dt.UTC)
BOUNDS = Retrain(schedule="weekly", live_windows=100, min_skill=-0.01, coverage_tolerance=0.05)


@pytest.fixture
def arena(registry: Registry, tmp_path: Path) -> Arena:
    return Arena(registry, tmp_path / "promotions", GATE)


@pytest.fixture
def first(trained: TrainedModel, momentum_series: Sequence[Series], arena: Arena) -> TrainResult:
    """A registered model that is champion."""
    return compete(trained, momentum_series, PART, LATER, arena)


def test_a_first_model_with_skill_becomes_champion(first: TrainResult, registry: Registry) -> None:
    assert first.promoted
    assert registry.champion("1m") == "1m-1"
    assert registry.load("1m-1").manifest.metrics["skill_1"] == first.metrics[1]["lstm"].skill


def test_a_model_is_judged_on_bars_that_it_did_not_see(
    arena: Arena, momentum_series: Sequence[Series], small: ModelSettings
) -> None:
    result = train(momentum_series, small, arena)
    assert result.model.manifest.trained_until <= result.part.end < result.held_back.start
    assert result.decision.verdict.judged_from == result.held_back.start


def test_the_report_holds_its_figures(
    first: TrainResult, registry: Registry, momentum_series: Sequence[Series], tmp_path: Path
) -> None:
    page = report(first, momentum_series, registry, tmp_path / "reports", 0.02, 10.0)
    text = page.read_text()
    assert text.count("data:image/png;base64,") == 7
    assert 'src="http' not in text
    assert "<link" not in text
    assert all(name in text for name in ("LSTM", "ARIMA", "ridge", "persistence"))
    assert text.count("How far?") == 2
    assert all(f"<td>{name}</td>" in text for name in ("trailing", "ewma", "garch"))
    assert "the usual fee is 10: it would not have paid" in text
    run = next((tmp_path / "models" / "runs").rglob("loss.png"))
    assert run.read_bytes() == (page.parent / "loss.png").read_bytes()


def test_retraining_tries_scratch_and_the_champions_weights(
    first: TrainResult, arena: Arena, momentum_series: Sequence[Series], small: ModelSettings
) -> None:
    made = list(retrain(momentum_series[:1], small, arena))
    assert [one.version for one in made] == ["1m-2", "1m-3"]
    assert made[0].decision.champion == "1m-1"
    rows = decisions(arena.promotions_dir)
    assert [row["challenger"] for row in rows] == ["1m-1", "1m-2", "1m-3"]


def test_a_champion_of_another_make_is_not_continued(
    first: TrainResult, arena: Arena, momentum_series: Sequence[Series], small: ModelSettings
) -> None:
    training = small.training.model_copy(update={"horizons": (1, 2), "max_epochs": 1})
    made = list(retrain(momentum_series[:1], replace(small, training=training), arena))
    assert [one.version for one in made] == ["1m-2"]
    assert made[0].decision.champion == "1m-1"


def test_a_run_that_dies_before_the_gate_leaves_the_champion(
    first: TrainResult, arena: Arena, small: ModelSettings
) -> None:
    with pytest.raises(NotEnoughBars):
        list(retrain([random_series(40, seed=61)], small, arena))
    assert arena.registry.champion("1m") == "1m-1"


def test_promote_and_rollback_change_the_champion_in_one_step(
    first: TrainResult,
    registry: Registry,
    arena: Arena,
    trained: TrainedModel,
    momentum_series: Sequence[Series],
) -> None:
    second = compete(trained, momentum_series, PART, LATER, arena)
    assert not second.promoted
    assert promote_version(arena, second.version, "to look") == "1m-2-unproven"
    assert registry.champion("1m") == "1m-2-unproven"  # the gate rejected it, and rows say so
    found = registry.proven("1m-1")
    assert found not in (None, NOTHING)
    assert roll_back(arena, "1m") == "1m-1"
    assert registry.champion("1m") == "1m-1"
    assert registry.proven("1m-1") == found
    with pytest.raises(ConfigurationError, match="replaced no other"):
        roll_back(arena, "1m")
    assert [row["action"] for row in decisions(arena.promotions_dir)] == [
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
    reason = reason_to_retrain(DAY, last, figures, 0.9, BOUNDS)
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
    assert reason_to_retrain(DAY, DAY - age, figures, 0.9, BOUNDS) is None


def test_what_has_drifted_is_a_reason_to_retrain_a_day_after_the_last_try() -> None:
    drift = ["feature volume of 1m-1: PSI 0.40"]
    before = [DAY - dt.timedelta(hours=hours) for hours in (25, 23)]
    reasons = [reason_to_retrain(DAY, at, None, 0.9, BOUNDS, drift) for at in before]
    assert reasons == ["drifted: feature volume of 1m-1: PSI 0.40", None]


@pytest.mark.parametrize(
    ("age", "due"),
    [(dt.timedelta(minutes=5), False), (dt.timedelta(hours=25), True), (-dt.timedelta(1), True)],
    ids=["just now", "a day ago", "by a clock that was ahead"],
)
def test_a_training_that_was_killed_is_due_again_after_a_day(age: dt.timedelta, due: bool) -> None:
    weekly = dt.timedelta(days=8)
    for last in (None, DAY - weekly, DAY + weekly):
        found = reason_to_retrain(DAY, last, None, 0.9, BOUNDS, last_attempt=DAY - age)
        assert (found is not None) == due


def retrain_settings(folder: Path, small: ModelSettings) -> Settings:
    base = Settings()
    return base.model_copy(
        update={
            "warehouse": base.warehouse.model_copy(
                update={"dir": str(folder), "reports_dir": str(folder / "reports")}
            ),
            "registry": RegistrySettings(
                tracking_uri=f"sqlite:///{folder}/mlflow.db", artifact_dir=str(folder / "models")
            ),
            "training": small.training,
        }
    )


def test_an_attempt_is_noted_before_training_and_forgotten_where_bars_were_missing(
    registry: Registry, tmp_path: Path, small: ModelSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, console = retrain_settings(tmp_path, small), Console(quiet=True)
    retrain_if_due(settings, "1m", False, console, once=False)
    assert "no challenger" in str(reason_now(settings, Arena.of(settings), "1m", DAY))
    tables.write(tmp_path, "bars", tables.bars(tables.random_walk(10, seed=1)))
    monkeypatch.setattr(jobs.retrain, "free_bytes", lambda: 1)
    retrain_if_due(settings, "1m", False, console, once=False)
    now = dt.datetime.now(dt.UTC)
    arena = Arena.of(settings)
    assert reason_now(settings, arena, "1m", now) is None
    assert reason_now(settings, arena, "1m", now + dt.timedelta(days=1)) is not None


def test_evaluation_writes_a_row_a_series_and_names_what_it_left_out(
    small: ModelSettings, tmp_path: Path
) -> None:
    write_file(tmp_path / "long.csv.gz", random_series(1000, seed=62, momentum=0.4))
    write_file(tmp_path / "short.csv.gz", random_series(50, seed=63))
    console = Console(width=200)
    with console.capture() as shown:
        rows = evaluate_files(
            sorted(tmp_path.glob("*.csv.gz")), small, Evaluation(folds=2), console
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
    arguments = ([tmp_path / "x.csv.gz"], small, Evaluation(folds=1))
    first, again = (evaluate_files(*arguments, Console(quiet=True))[0] for _ in range(2))
    # As text: what is not a number differs from itself.
    assert repr(replace(first, seconds=0)) == repr(replace(again, seconds=0))


def folder_of_a_market(folder: Path) -> list[Path]:
    """A leader, and a series that repeats half of its last move."""
    leader = random_series(900, seed=5)
    returns = np.diff(np.log(leader.close), prepend=np.log(leader.close[0]))
    follower = Series("x", "1m", START, led_by(returns, delay=1, weight=0.5, seed=6))
    write_file(folder / "btcusdt_1m.csv.gz", leader)
    write_file(folder / "ethusdt_1m.csv.gz", follower)
    return series_files(folder)


def test_in_a_folder_that_is_a_market_a_series_is_forecast_from_its_leader(
    small: ModelSettings, tmp_path: Path
) -> None:
    market = read_market(folder_of_a_market(tmp_path), ["BTC-USDT"])
    leader, follower = score_market(market, small, Evaluation(folds=1))
    assert (leader.series, follower.series) == ("btcusdt_1m", "ethusdt_1m")
    assert abs(leader.skill["lstm"]) < 0.02
    assert follower.skill["lstm"] > 0.08


@pytest.mark.parametrize("leader", ["ltcusdt", "BINANCE:BTC-USDT"])
def test_a_leader_without_a_file_is_an_error(tmp_path: Path, leader: str) -> None:
    with pytest.raises(ConfigurationError, match=f"--leaders {leader} is no file"):
        read_market(folder_of_a_market(tmp_path), [leader])


def with_held_back(settings: ModelSettings, test_share: float) -> ModelSettings:
    training = settings.training.model_copy(update={"test_share": test_share})
    return replace(settings, training=training)


def test_with_news_one_challenger_more_reads_them(arena: Arena, small: ModelSettings) -> None:
    series = [planted_series(seed=3, effect=0.2, n_bars=900)]
    made = list(retrain(series, with_held_back(small, 0.3), arena, read_news=True))
    assert [one.model.manifest.reads_news for one in made] == [False, True]
    without, reader = (one.decision.verdict for one in made)
    assert reader.skill > without.skill


def market_of_two() -> list[Series]:
    leader = random_series(1500, seed=5)
    returns = np.diff(np.log(leader.close), prepend=np.log(leader.close[0]))
    follower = Series("ETH-USD", "1m", START, led_by(returns, delay=1, weight=1.0, seed=6))
    return with_leaders([leader, follower], Market(leaders=["BTC-USD"]).of)


def test_with_leaders_one_challenger_more_reads_them_and_serves(
    arena: Arena, small: ModelSettings
) -> None:
    made = list(retrain(market_of_two(), small, arena))
    assert [one.model.manifest.reads_leaders for one in made] == [False, True]
    assert made[1].promoted, made[1].reason
    assert not made[0].promoted
    market = Market(leaders=["BTC-USD"])
    served = Champions(arena.registry, ("1m",), small.lookback, market).current()["1m"]
    assert served.artifact.version == made[1].version
    assert served.serving(with_news=False, with_leaders=False) is None


def test_where_no_leader_has_a_bar_no_model_reads_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (alone,) = with_leaders([random_series(100, seed=1)], Market(leaders=["X-Y"]).of)
    assert readings([alone], read_news=False) == [Layout()]
    assert "no_bars_of_leaders" in caplog.text


def test_the_gate_compares_a_champion_that_reads_news_with_one_that_does_not(
    arena: Arena, small: ModelSettings
) -> None:
    series, settings = [planted_series(seed=3, effect=0.4, n_bars=900)], with_held_back(small, 0.3)
    first = train(series, settings, replace(arena, allow_unproven=True))
    reader = train(series, settings, arena, Layout(news=True))
    again = train(series, settings, arena)
    assert reader.decision.champion == arena.registry.canonical(first.version)
    assert reader.reason.startswith("beats the champion")
    assert arena.registry.champion("1h") == reader.version
    assert not again.promoted
    assert again.decision.champion == reader.version
    assert again.reason.startswith("does not beat persistence")


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
    assert not plain.layout.news
    tables.write(tmp_path, "articles", articles)
    (with_news,) = with_archived_news(read_warehouse(tmp_path, "1m"), tmp_path)
    assert with_news.bars[:, 6].tolist() == [0, 0, 0, 1, 0, 1, 0, 0, 0, 0]
