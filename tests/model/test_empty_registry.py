"""A registry begins as a copy of an empty one that the install has made."""

import errno
import shutil
from pathlib import Path

import pytest

from model import empty_registry
from model.registry import Registry
from tests.artifacts import save_random_artifact


@pytest.fixture
def template(mlflow_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(empty_registry, "FOLDER", tmp_path / "share")
    empty_registry.template().parent.mkdir()
    shutil.copy(mlflow_database, empty_registry.template())
    return empty_registry.template()


def test_a_registry_begins_as_the_copy_and_can_be_used(template: Path, tmp_path: Path) -> None:
    file = tmp_path / "warehouse" / "mlflow.db"
    file.parent.mkdir()
    empty_registry.copy_to(file)
    assert file.read_bytes() == template.read_bytes()
    assert [one.name for one in file.parent.iterdir()] == ["mlflow.db"]
    registry = Registry(f"sqlite:///{file}", tmp_path / "models")
    save_random_artifact(tmp_path / "own", seed=1)
    assert registry.register(tmp_path / "own", "1m") == "1m-1"


def test_a_registry_that_is_there_stays_as_it_is(template: Path, tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    file.write_text("somebody's")
    empty_registry.copy_to(file)
    assert file.read_text() == "somebody's"


def test_a_full_disk_is_left_to_who_makes_the_registry(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(_: Path, target: Path) -> None:
        target.write_bytes(b"SQLite")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", half)
    place = tmp_path / "warehouse"
    place.mkdir()
    empty_registry.copy_to(place / "mlflow.db")
    assert list(place.iterdir()) == []


def test_where_the_install_made_none_nothing_is_put_there(template: Path, tmp_path: Path) -> None:
    template.unlink()
    empty_registry.copy_to(tmp_path / "mlflow.db")
    assert not (tmp_path / "mlflow.db").exists()
