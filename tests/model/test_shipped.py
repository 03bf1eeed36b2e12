"""The model that comes with the code serves where nothing else does, marked as unproven."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from conf.settings import Promotion, Settings, Warehouse
from conf.settings import Registry as RegistrySettings
from jobs.demo.recordings import BACKFILL, SERIES, Parts, read_all
from jobs.demo.report import series_of
from jobs.predict_stream import let_shipped_serve
from model.artifact import load_artifact
from model.dataset import Span
from model.decisions import Arena, deciding, decisions
from model.forecast import Forecaster
from model.registry import Registry
from model.shipped import REASON, SHIPPED_DIR, serve_shipped
from model.validate import forecast_outcomes
from tests.artifacts import save_random_artifact

SETTINGS = Settings()  # type: ignore[call-arg]


@pytest.fixture
def arena(registry: Registry, tmp_path: Path) -> Arena:
    return Arena(registry, tmp_path / "promotions", Promotion(level=0.05, min_windows=100))


def test_the_shipped_model_serves_as_unproven_where_nothing_else_does(arena: Arena) -> None:
    assert serve_shipped(arena) == ["1m-1-unproven"]
    assert arena.registry.champion("1m") == "1m-1-unproven"
    (decision,) = decisions(arena.promotions_dir)
    assert (decision["action"], decision["promoted"]) == ("shipped", False)
    assert decision["reason"] == REASON
    assert serve_shipped(arena) == []


def test_the_shipped_model_takes_nobodys_place(arena: Arena, tmp_path: Path) -> None:
    save_random_artifact(tmp_path / "own", seed=1)
    arena.registry.promote(arena.registry.register(tmp_path / "own", "1m"))
    assert serve_shipped(arena) == []
    assert arena.registry.champion("1m") == "1m-1"


def test_a_model_that_passes_the_gate_takes_its_place(arena: Arena, tmp_path: Path) -> None:
    serve_shipped(arena)
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


def test_the_shipped_model_fits_the_shipped_settings() -> None:
    manifest = load_artifact(SHIPPED_DIR / "1m", "shipped").manifest
    assert manifest.lookback == SETTINGS.window.lookback
    assert manifest.horizons == SETTINGS.training.horizons


def test_the_shipped_model_can_be_run() -> None:
    model = Forecaster(load_artifact(SHIPPED_DIR / "1m", "shipped"))
    bars = read_all(SERIES["cccagg"], 0)[:400]
    span = Span(bars[0].open_time, bars[-1].close_time)
    (outcomes, _) = (forecast_outcomes(one, span, {"shipped": model}) for one in series_of(bars))
    assert np.isfinite(outcomes.forecast("shipped")).all()
    assert len(outcomes)


def test_the_shipped_model_has_seen_nothing_of_what_the_demo_replays() -> None:
    parts = Parts.split(read_all(SERIES["cccagg"], 0), BACKFILL)
    manifest = load_artifact(SHIPPED_DIR / "1m", "shipped").manifest
    assert manifest.trained_until < min(bar.open_time for bar in parts.replay)


def test_the_shipped_model_can_be_made_again(tmp_path: Path) -> None:
    from jobs.ship import make

    make(SETTINGS, tmp_path)
    models = {
        name: Forecaster(load_artifact(folder / "1m", name))
        for name, folder in (("shipped", SHIPPED_DIR), ("made", tmp_path))
    }
    bars = read_all(SERIES["cccagg"], 0)
    replay = Parts.split(bars, BACKFILL).replay
    span = Span(replay[0].open_time, replay[-1].close_time)
    found = [forecast_outcomes(one, span, models) for one in series_of(bars)]
    shipped, made = (np.concatenate([o.forecast(name) for o in found]) for name in models)
    assert len(shipped) > 1000
    # Adding up on several cores rounds otherwise, and training goes on from there.
    assert np.sqrt(np.mean((shipped - made) ** 2)) < 0.1 * np.std(shipped)
