"""Predictions of times that their model was trained on, as a lost checkpoint leaves them."""

import shutil
from datetime import UTC
from pathlib import Path

import pytest

from jobs.scoring.scoreboard import update_scores
from model.artifact import Manifest, read_manifest
from model.registry import Registry
from store.fits import update_fits
from store.views import read_sql
from tests import tables
from tests.artifacts import save_random_artifact
from tests.tables import MINUTE, START

CLOSE = tables.random_walk(40, seed=3)


def register(registry: Registry, folder: Path, trained_until_minute: int) -> str:
    """A model that has seen the first minutes of the bars."""
    save_random_artifact(folder, seed=1)
    manifest = read_manifest(folder)
    until = (START + trained_until_minute * MINUTE).replace(tzinfo=UTC)
    seen = manifest.model_copy(update={"trained_until": int(until.timestamp() * 1000)})
    (folder / "manifest.json").write_text(Manifest.model_dump_json(seen))
    return registry.register(folder, "1m")


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    folder = tmp_path / "warehouse"
    tables.write(folder, "bars", tables.bars(CLOSE))
    for version in ("1m-1", "1m-1-unproven", "1m-2", "1m-9"):
        rows = tables.predictions(CLOSE[:-1], tables.guesses(CLOSE[:-1], seed=4), version=version)
        tables.write(folder, "predictions", rows, batch=version)
    return folder


def test_what_a_model_has_seen_is_marked_and_in_no_score(
    registry: Registry, warehouse: Path, tmp_path: Path
) -> None:
    for number, minute in enumerate((20, 30)):
        register(registry, tmp_path / f"artifact-{number}", minute)
    assert update_fits(warehouse, registry) == 2
    assert update_fits(warehouse, registry) == 0
    query = "SELECT model_version, sum(in_sample::INT) AS seen FROM predictions GROUP BY ALL"
    seen = read_sql(warehouse, query).set_index("model_version")["seen"].to_dict()
    assert seen == {"1m-1": 19, "1m-1-unproven": 19, "1m-2": 29, "1m-9": 0}
    board = update_scores(warehouse)
    scored = board[board["span"] == "all"].set_index("model_version")["predictions"].to_dict()
    assert scored == {"1m-1": 20, "1m-1-unproven": 20, "1m-2": 10, "1m-9": 39}


def test_a_model_whose_manifest_is_gone_keeps_the_others_from_nothing(
    registry: Registry, warehouse: Path, tmp_path: Path
) -> None:
    first = register(registry, tmp_path / "a", 20)
    register(registry, tmp_path / "b", 30)
    shutil.rmtree(registry.folder(first))
    assert update_fits(warehouse, registry) == 1
