"""The model that comes with the code serves where nothing else does, marked as unproven."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from conf.sections import Market, Promotion, Warehouse
from conf.sections import Registry as RegistrySettings
from conf.settings import Settings
from jobs.demo.recordings import BACKFILL, LEADERS, SERIES, Parts, read_all
from jobs.demo.report import series_of
from jobs.predict_stream import let_shipped_serve
from model.artifact import load_artifact
from model.champions import Champions
from model.dataset import Span
from model.decisions import Arena, deciding, decisions
from model.forecast import Forecaster
from model.leaders import with_leaders
from model.registry import Registry
from model.shipped import REASON, SHIPPED_DIR, serve_shipped
from model.validate import forecast_outcomes
from tests.artifacts import save_random_artifact

NAMES = ("1m", "1m-led")
LED = Market(leaders=[*LEADERS["cccagg"]])
SETTINGS = Settings()  # type: ignore[call-arg]


@pytest.fixture
def arena(registry: Registry, tmp_path: Path) -> Arena:
    return Arena(registry, tmp_path / "promotions", Promotion(level=0.05, min_windows=100))


def test_the_shipped_model_serves_as_unproven_where_nothing_else_does(arena: Arena) -> None:
    assert serve_shipped(arena, Market()) == ["1m-1-unproven"]
    assert arena.registry.champion("1m") == "1m-1-unproven"
    (decision,) = decisions(arena.promotions_dir)
    assert (decision["action"], decision["promoted"]) == ("shipped", False)
    assert decision["reason"] == REASON
    assert serve_shipped(arena, Market()) == []


def test_where_the_market_names_its_leaders_the_one_that_reads_them_serves_with_a_substitute(
    arena: Arena,
) -> None:
    assert serve_shipped(arena, LED) == ["1m-1-unproven", "1m-2-unproven"]
    assert arena.registry.champion("1m") == "1m-2-unproven"
    assert serve_shipped(arena, LED) == []
    champions = Champions(arena.registry, ["1m"], SETTINGS.window.lookback, LED)
    champions.begin({})
    served = champions.current()["1m"]
    assert served.reads_leaders
    alone = served.serving(with_news=False, with_leaders=False)
    assert alone is not None
    assert alone.artifact.version == "1m-1-unproven"


def test_the_shipped_model_takes_nobodys_place(arena: Arena, tmp_path: Path) -> None:
    save_random_artifact(tmp_path / "own", seed=1)
    arena.registry.promote(arena.registry.register(tmp_path / "own", "1m"))
    assert serve_shipped(arena, Market()) == []
    assert arena.registry.champion("1m") == "1m-1"


def test_a_model_that_passes_the_gate_takes_its_place(arena: Arena, tmp_path: Path) -> None:
    serve_shipped(arena, Market())
    save_random_artifact(tmp_path / "own", seed=1)
    arena.registry.promote(arena.registry.register(tmp_path / "own", "1m"))
    assert arena.registry.champion("1m") == "1m-2"


def test_the_stream_lets_it_serve_unless_the_settings_or_a_registry_say_otherwise(
    mlflow_database: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    registered = {
        "tracking_uri": f"sqlite:///{tmp_path}/mlflow.db",
        "artifact_dir": f"{tmp_path}/m",
    }
    kept = {"warehouse": Warehouse(dir=str(tmp_path)), "registry": RegistrySettings(**registered)}
    placed = Settings(**kept)  # type: ignore[arg-type]
    off = Settings(**kept, promotion=Promotion(shipped=False))  # type: ignore[arg-type]
    let_shipped_serve(off)
    assert Arena.of(off).registry.champion("1m") is None
    with deciding(Arena.of(placed).promotions_dir):  # as by another program
        let_shipped_serve(placed)
    assert "event=shipped_off" in caplog.text
    let_shipped_serve(placed)
    assert Arena.of(placed).registry.champion("1m") == "1m-1-unproven"


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_model_fits_the_shipped_settings(name: str) -> None:
    manifest = load_artifact(SHIPPED_DIR / name, "shipped").manifest
    assert manifest.lookback == SETTINGS.window.lookback
    assert manifest.horizons == SETTINGS.training.horizons


def test_the_shipped_model_can_be_run() -> None:
    model = Forecaster(load_artifact(SHIPPED_DIR / "1m", "shipped"))
    bars = read_all(SERIES["cccagg"], 0)[:400]
    span = Span(bars[0].open_time, bars[-1].close_time)
    (outcomes, _) = (forecast_outcomes(one, span, {"shipped": model}) for one in series_of(bars))
    assert np.isfinite(outcomes.forecast("shipped")).all()
    assert len(outcomes)


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_model_has_seen_nothing_of_what_the_demo_replays(name: str) -> None:
    parts = Parts.split(read_all(SERIES["cccagg"], 0), BACKFILL)
    manifest = load_artifact(SHIPPED_DIR / name, "shipped").manifest
    assert manifest.trained_until < min(bar.open_time for bar in parts.replay)


def test_the_shipped_model_can_be_made_again(tmp_path: Path) -> None:
    from jobs.ship import make

    make(SETTINGS, tmp_path)
    bars = read_all(SERIES["cccagg"], 0)
    series = with_leaders(series_of(bars), LED.of)
    replay = Parts.split(bars, BACKFILL).replay
    span = Span(replay[0].open_time, replay[-1].close_time)
    for name in NAMES:
        models = {
            str(folder): Forecaster(load_artifact(folder / name, name))
            for folder in (SHIPPED_DIR, tmp_path)
        }
        found = [forecast_outcomes(one, span, models) for one in series]
        shipped, made = (np.concatenate([o.forecast(of) for o in found]) for of in models)
        assert len(shipped) > 1000
        # Adding up on several cores rounds otherwise, and training goes on from there.
        assert np.sqrt(np.mean((shipped - made) ** 2)) < 0.1 * np.std(shipped)
