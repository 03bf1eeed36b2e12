"""A registry in trouble: whether to wait or to act, in one line; nobody waits long."""

import shutil
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from conf.errors import (
    ArtifactMismatch,
    CandlecastError,
    ConfigurationError,
    MissingPrerequisite,
    RegistryUnavailable,
)
from conf.sections import Registry as RegistrySettings
from model import mlflow_client
from model.artifact import read_manifest, save_artifact
from model.mlflow_client import registry_error, sqlite_file
from model.registry import Registry
from tests.artifacts import save_random_artifact

Damage = Callable[[Path], object]


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_client, "PATIENCE_S", 0.1)
    monkeypatch.setitem(mlflow_client.ENVIRONMENT, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")


def of_another_schema(database: Path) -> None:
    with closing(sqlite3.connect(database)) as open_database:
        open_database.execute("UPDATE alembic_version SET version_num = 'other'")
        open_database.commit()


def overwritten(database: Path) -> None:
    database.write_bytes(b"no database, " * 1000)


def cut_short(database: Path) -> None:
    database.write_bytes(database.read_bytes()[: database.stat().st_size // 3])


@pytest.mark.parametrize("damage", [of_another_schema, overwritten, cut_short])
def test_a_registry_that_is_none_or_of_another_schema_is_for_a_person(
    mlflow_database: Path, tmp_path: Path, damage: Damage
) -> None:
    shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    damage(tmp_path / "mlflow.db")
    registry = Registry(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "models")
    with pytest.raises(ConfigurationError, match=r"mlflow\.db") as refused:
        registry.champion("1m")
    assert refused.value.exit_code == 78
    assert "\n" not in str(refused.value)


def test_a_locked_registry_is_asked_again_later(mlflow_database: Path, tmp_path: Path) -> None:
    shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    registry = Registry(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "models")
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RegistryUnavailable, match="holds its lock") as away:
            registry.models()
    assert away.value.exit_code == 75
    assert registry.champion("1m") is None


def test_a_registry_that_was_replaced_is_seen_by_who_had_the_one_before(
    champion_registry: RegistrySettings, registry: Registry, tmp_path: Path
) -> None:
    assert registry.champion("1m") is None
    other = sqlite_file(champion_registry.tracking_uri)
    assert other is not None
    (tmp_path / "mlflow.db").unlink()
    shutil.copy(other, tmp_path / "mlflow.db")
    assert registry.champion("1m") == "1m-1"


def test_who_writes_to_the_registry_keeps_no_reader_waiting(
    registry: Registry, tmp_path: Path
) -> None:
    assert registry.champion("1m") is None
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        assert registry.champion("1m") is None


def test_a_server_that_is_not_there_or_says_nothing_is_asked_again_later(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(RegistryUnavailable, match="does not answer"):
            Registry(f"http://127.0.0.1:{port}", tmp_path).champion("1m")
    with pytest.raises(RegistryUnavailable, match="does not answer"):
        Registry(f"http://127.0.0.1:{port}", tmp_path).champion("1m")


@pytest.mark.parametrize("uri", ["ftp://models", "postgresql+none://ann:secret@db/models"])
def test_an_address_that_is_none_is_named_without_its_password(uri: str, tmp_path: Path) -> None:
    with pytest.raises(CandlecastError, match=r"models") as refused:
        Registry(uri, tmp_path).champion("1m")
    assert refused.value.exit_code == 78
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("(sqlite3.OperationalError) database or disk is full", MissingPrerequisite),
        ("(sqlite3.OperationalError) database table is locked: tags", RegistryUnavailable),
        ("(sqlite3.OperationalError) attempt to write a readonly database", ConfigurationError),
        ("(sqlite3.OperationalError) no such column: registered_models.x", ConfigurationError),
        ("(psycopg.OperationalError) connection refused", RegistryUnavailable),
        ("API request failed with error code 403 != 200", ConfigurationError),
        ("API request failed with error code 503 != 200", RegistryUnavailable),
    ],
)
def test_the_text_of_a_failure_says_whether_to_wait_or_to_act(text: str, kind: type) -> None:
    assert type(registry_error("sqlite:///mlflow.db", Exception(text))) is kind


def test_an_error_of_our_own_is_not_taken_for_an_outage() -> None:
    with pytest.raises(AttributeError), mlflow_client.ours("sqlite:///mlflow.db"):
        raise AttributeError("no such thing")


@pytest.fixture
def version(registry: Registry, tmp_path: Path) -> str:
    save_random_artifact(tmp_path / "made", seed=1)
    return registry.register(tmp_path / "made", "1m")


def test_a_manifest_that_was_changed_together_with_its_file_is_refused(
    registry: Registry, version: str
) -> None:
    folder = registry.folder(version)
    save_artifact(folder, read_manifest(folder), {"model.onnx": b"other", "model.keras": b"other"})
    with pytest.raises(ArtifactMismatch, match="not the manifest that was registered"):
        registry.load(version)


@pytest.mark.parametrize("name", ["/tmp/model", "../1m-0123456789abcdef", "..", "", "1m-3/../x"])
def test_an_artifact_outside_the_registrys_folder_is_refused(
    registry: Registry, version: str, name: str
) -> None:
    registry.tag(version, "artifact", name)
    with pytest.raises(ArtifactMismatch, match="name of a folder"):
        registry.load(version)


@pytest.mark.parametrize("text", ["[0.5, NaN, 1]", "[0, 1, 1]", "{", "7", '["x"]', "null"])
def test_interval_factors_that_are_none_are_refused(
    registry: Registry, version: str, text: str
) -> None:
    registry.tag(version, "interval_factors", text)
    with pytest.raises(ArtifactMismatch, match="interval factors"):
        registry.interval_factors(version)
