"""Warehouse, checkpoint and registry together in one folder, and back onto an empty place.

```
 backup/backup.json   what it holds; written last, so that a backup without it is none
 backup/warehouse/    backup/checkpoint/    backup/models/    backup/mlflow.db
```
Rows, offsets and models fit each other only as of one moment: the caller keeps the programs that
write from running meanwhile (`held`).
"""

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from conf.errors import ConfigurationError, MissingPrerequisite, RetryLater
from conf.sections import local_folder
from conf.settings import Settings
from conf.state_files import read_state, replace_file, write_state
from model.mlflow_client import sqlite_file
from store.locks import LOCKS, only_worker

NOTE: Final = "backup.json"
DATABASE: Final = "mlflow.db"
# Beside the tables, and not part of them: locks, the demo, what a restore or a write has begun.
_RESTORING: Final = ".restoring"
_PASSED_OVER: Final = (LOCKS, "demo", ".demo.lock", _RESTORING)
_LOCK: Final = ".lock"


@dataclass(frozen=True)
class Places:
    """Where everything lies on this machine: folders by their name in a backup, and a database."""

    folders: Mapping[str, Path]
    database: Path

    @classmethod
    def of(cls, settings: Settings) -> "Places":
        """Those of the settings; raises ConfigurationError where one is on another machine."""
        checkpoint = local_folder(settings.warehouse.checkpoint_dir)
        if checkpoint is None:
            raise ConfigurationError(
                f"warehouse.checkpoint_dir = {settings.warehouse.checkpoint_dir}: backup and "
                "restore take folders of this machine; copy it by the means of its file system"
            )
        uri = settings.registry.tracking_uri
        database = sqlite_file(uri)
        if database is None:
            raise ConfigurationError(
                f"registry.tracking_uri = {uri}: backup and restore take a SQLite file "
                "(sqlite:///FILE); a server has backups of its own"
            )
        folders = {
            "models": Path(settings.registry.artifact_dir).absolute(),
            "warehouse": settings.warehouse.folder.absolute(),
            "checkpoint": checkpoint.absolute(),
        }
        return cls(folders, database.absolute())

    def apart(self, name: str) -> Iterator[Path]:
        """What lies in a folder and is a part of its own."""
        yield from (place for other, place in self.folders.items() if other != name)
        yield from (Path(f"{self.database}{end}") for end in ("", "-wal", "-shm"))


@contextmanager
def held(settings: Settings) -> Iterator[None]:
    """Keep every program that writes from running while the block runs; raises AlreadyRunning,
    which names it, where one does."""
    with ExitStack() as locks:
        for work in ("stream", "score", "retrain", "housekeeping"):
            locks.enter_context(only_worker(settings.warehouse, work))
        yield


def back_up(places: Places, target: Path) -> dict[str, int]:
    """Copy everything into `target`, a new or empty folder; returns the files of each part."""
    target = target.absolute()
    for place in places.folders.values():
        if target.is_relative_to(place) or place.is_relative_to(target):
            raise ConfigurationError(f"{target} and {place} lie in each other: back up elsewhere")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigurationError(f"{target} is not empty: a backup takes a new folder")
    target.mkdir(parents=True, exist_ok=True)
    for name, place in places.folders.items():
        _copy(place, target / name, [*places.apart(name)])
    if places.database.exists():
        copy_database(places.database, target / DATABASE)
    os.sync()
    files = _files(target)
    made_at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    write_state(target / NOTE, {"made_at": made_at, "files": files})
    return files


def copy_database(database: Path, target: Path) -> None:
    """Copy a SQLite file as of one moment, whoever reads or writes it."""
    try:
        with closing(sqlite3.connect(database)) as source:
            source.execute("VACUUM INTO ?", [str(target)])
    except sqlite3.OperationalError as error:
        if "disk is full" in str(error):
            raise MissingPrerequisite(f"{target}: the disk is full; free some space") from error
        raise RetryLater(f"{database} can't be read at the moment: {error}") from error
    except sqlite3.DatabaseError as error:
        raise ConfigurationError(f"{database} is damaged: {error}") from error


def restore(backup: Path, places: Places) -> dict[str, int]:
    """Bring a backup back; nothing appears before all of it is on the disk, the checkpoint last.

    Returns the files of each part. Raises ConfigurationError where `backup` is no complete backup,
    or something is there already.
    """
    noted = read_state(backup / NOTE).get("files")
    files = _files(backup)
    if noted != files:
        raise ConfigurationError(
            f"{backup} is no complete backup: {NOTE} says {json.dumps(noted)} files, there are "
            f"{json.dumps(files)}"
        )
    for place in (*places.folders.values(), places.database):
        if found := _first_file(place):
            raise ConfigurationError(
                f"{found} is there already: a backup is restored onto an empty place; move what "
                "is there away, or set other places ([warehouse], [registry])"
            )
    staged = {place: place / _RESTORING for place in places.folders.values()}
    for name, place in places.folders.items():
        shutil.rmtree(staged[place], ignore_errors=True)
        _copy(backup / name, staged[place], [])
    os.sync()
    if (backup / DATABASE).exists():
        replace_file(places.database, (backup / DATABASE).read_bytes())
    for place, folder in staged.items():
        for part in sorted(folder.iterdir()):
            part.replace(place / part.name)
        folder.rmdir()
    os.sync()
    return files


def _copy(source: Path, target: Path, apart: list[Path]) -> None:
    passed_over = shutil.ignore_patterns(*_PASSED_OVER)

    def left_out(folder: str, names: list[str]) -> set[str]:
        own = passed_over(folder, names) if Path(folder) == source else set()
        return {*own, _LOCK, *(name for name in names if Path(folder) / name in apart)}

    target.mkdir(parents=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=left_out, dirs_exist_ok=True)


def _files(backup: Path) -> dict[str, int]:
    """How many files a backup holds of each part."""
    parts = sorted(path for path in backup.glob("*") if path.name != NOTE)
    return {part.name: sum(1 for p in (part, *part.rglob("*")) if p.is_file()) for part in parts}


def _first_file(place: Path) -> Path | None:
    """A file of ours that is there, or None."""
    passed_over = shutil.ignore_patterns(*_PASSED_OVER)
    for folder, names, files in os.walk(place):
        own = passed_over(folder, [*names, *files]) if Path(folder) == place else set()
        names[:] = [name for name in names if name not in own and name not in (LOCKS, _RESTORING)]
        if found := next((name for name in files if name not in own and name != _LOCK), None):
            return Path(folder) / found
    return place if place.is_file() else None
