"""A backup holds all that the stream needs to go on, and comes back only onto an empty place."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from conf.errors import AlreadyRunning, ConfigurationError, RetryLater
from conf.sections import Registry as RegistrySettings
from conf.sections import Warehouse
from conf.settings import Settings
from model.registry import Registry
from store.backup import NOTE, Places, back_up, held, restore
from store.locks import only_worker
from tests.artifacts import random_champion
from tests.store.test_compaction import Bars

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
IDENTITY = ["symbol", "as_of", "horizon"]


def nested(folder: Path) -> Settings:
    """Settings with everything in the warehouse, as they are by default."""
    return Settings(
        warehouse=Warehouse(dir=str(folder), checkpoint_dir=str(folder / "_checkpoints")),
        registry=RegistrySettings(
            tracking_uri=f"sqlite:///{folder}/mlflow.db", artifact_dir=str(folder / "models")
        ),
    )


def apart(folder: Path) -> Settings:
    """Settings with a folder of its own for each part."""
    return Settings(
        warehouse=Warehouse(dir=str(folder / "w"), checkpoint_dir=str(folder / "c")),
        registry=RegistrySettings(
            tracking_uri=f"sqlite:///{folder}/r/db", artifact_dir=str(folder / "m")
        ),
    )


@pytest.fixture
def filled(tmp_path: Path, mlflow_database: Path) -> Settings:
    """Bars, a checkpoint, a champion; beside them a demo, locks and what a writer has begun."""
    folder = tmp_path / "filled"
    settings = nested(folder)
    Bars(folder).minutes(NOON, 3)
    for name in ("_checkpoints/predict/offsets/0", "demo/bars/file", "_scores/alerts.json"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(name)
    shutil.copy(mlflow_database, folder / "mlflow.db")
    assert random_champion(folder) == settings.registry
    return settings


@pytest.mark.parametrize("layout", [nested, apart])
def test_everything_comes_back_where_the_settings_say(
    filled: Settings, tmp_path: Path, layout: type
) -> None:
    files = back_up(Places.of(filled), tmp_path / "backup")
    settings = layout(tmp_path / "new")
    with held(settings):
        assert restore(tmp_path / "backup", Places.of(settings)) == files
    warehouse = settings.warehouse.folder
    pd.testing.assert_frame_equal(
        Bars(warehouse).rows(), Bars(filled.warehouse.folder).rows(), check_like=True
    )
    offsets = Path(settings.warehouse.checkpoint_dir) / "predict" / "offsets" / "0"
    assert offsets.read_text() == "_checkpoints/predict/offsets/0"
    registry = Registry.of(settings.registry)
    assert registry.load(str(registry.champion("1m"))).version == "1m-1"
    assert (warehouse / "_scores" / "alerts.json").exists()
    assert not (warehouse / "demo").exists()
    assert not list((tmp_path / "new").rglob(".restoring"))


def test_the_registrys_file_is_found_by_any_form_of_its_address(filled: Settings) -> None:
    plain = Places.of(filled).database
    uri = f"{filled.registry.tracking_uri}?timeout=5"
    asked = filled.model_copy(update={"registry": RegistrySettings(tracking_uri=uri)})
    assert Places.of(asked).database == plain


def test_a_backup_is_made_only_while_nothing_writes(filled: Settings) -> None:
    for work in ("stream", "score", "retrain", "housekeeping"):
        with (
            only_worker(filled.warehouse, work),  # type: ignore[arg-type]
            pytest.raises(AlreadyRunning, match=f"{work} on"),
            held(filled),
        ):
            pass


@pytest.mark.parametrize("name", ["w/bars/batch=q-1/part-0.parquet", "c/predict/x", "m/a", "r/db"])
def test_nothing_that_is_there_is_written_over(filled: Settings, tmp_path: Path, name: str) -> None:
    back_up(Places.of(filled), tmp_path / "backup")
    there = tmp_path / "new" / name
    there.parent.mkdir(parents=True)
    there.write_text("mine")
    with pytest.raises(ConfigurationError, match="is there already"):
        restore(tmp_path / "backup", Places.of(apart(tmp_path / "new")))
    assert [p for p in (tmp_path / "new").rglob("*") if p.is_file()] == [there]


def test_a_backup_that_was_cut_short_is_refused(filled: Settings, tmp_path: Path) -> None:
    places, backup = Places.of(filled), tmp_path / "backup"
    back_up(places, backup)
    note = (backup / NOTE).read_bytes()
    (backup / NOTE).unlink()
    new = Places.of(apart(tmp_path / "new"))
    with pytest.raises(ConfigurationError, match="no complete backup"):
        restore(backup, new)
    (backup / NOTE).write_bytes(note)
    next((backup / "warehouse" / "bars").rglob("*.parquet")).unlink()
    with pytest.raises(ConfigurationError, match="no complete backup"):
        restore(backup, new)
    with pytest.raises(ConfigurationError, match="not empty"):
        back_up(places, backup)


def test_a_restore_that_was_killed_is_done_again(
    filled: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(Places.of(filled), tmp_path / "backup")
    settings = apart(tmp_path / "new")
    with monkeypatch.context() as killed:
        killed.setattr("store.backup.replace_file", interrupt)
        with pytest.raises(KeyboardInterrupt):
            restore(tmp_path / "backup", Places.of(settings))
    restore(tmp_path / "backup", Places.of(settings))
    assert len(Bars(settings.warehouse.folder).rows()) == 3


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_backup_does_not_go_into_what_it_copies(filled: Settings, tmp_path: Path) -> None:
    for target in (filled.warehouse.folder / "backup", tmp_path):
        with pytest.raises(ConfigurationError, match="lie in each other"):
            back_up(Places.of(filled), target)


def test_a_registry_that_cannot_be_copied_is_named(filled: Settings, tmp_path: Path) -> None:
    places = replace(Places.of(filled), database=tmp_path / "own.db")
    with closing(sqlite3.connect(places.database, isolation_level=None)) as other:
        other.execute("CREATE TABLE models (name)")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RetryLater, match=r"own\.db can't be read"):
            back_up(places, tmp_path / "one")
    places.database.write_bytes(b"garbage" * 1000)
    with pytest.raises(ConfigurationError, match=r"own\.db is damaged"):
        back_up(places, tmp_path / "two")


@pytest.mark.parametrize(
    ("warehouse", "uri", "named"),
    [
        (Warehouse(dir="s3a://b/w"), "sqlite:///m.db", "warehouse.dir"),
        (Warehouse(dir="w", checkpoint_dir="hdfs://b/c"), "sqlite:///m.db", "checkpoint_dir"),
        (Warehouse(dir="w", checkpoint_dir="c"), "http://mlflow:5000", "tracking_uri"),
    ],
)
def test_what_lies_elsewhere_is_named(warehouse: Warehouse, uri: str, named: str) -> None:
    registry = RegistrySettings(tracking_uri=uri, artifact_dir="m")
    with pytest.raises(ConfigurationError, match=named):
        Places.of(Settings(warehouse=warehouse, registry=registry))
