"""Which files of a local warehouse can be read: each is looked at once, a bad one is left aside.

A file may be cut short, empty, of other columns or types, or go while it is read, since compaction
runs beside the readers. None of that is a reason to answer nothing about the others: what can't be
read is named once in the log and counted (`left_aside`), and read again only once it has changed.
"""

import logging
import os
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from conf.events import event
from store.files import BATCH, not_listed
from store.footer import GONE, File, Stamp, Unreadable, read_footer, stamp_of
from store.schema import Table

log = logging.getLogger(__name__)


@dataclass
class _Folder:
    changed_ns: int
    files: list[File] | None = None


class TableFiles:
    """The committed files of one table of one warehouse, as one process knows them.

    Where the table's folder is there and can't be listed, whatever asks for files raises
    ConfigurationError.
    """

    def __init__(self, warehouse_dir: Path, table: Table) -> None:
        self._path = warehouse_dir / table.name
        self._table = table
        self._folders: dict[str, _Folder] = {}
        self._left_aside: dict[str, tuple[Stamp, str]] = {}
        self._lock = threading.Lock()

    def changed_at(self) -> dict[str, float]:
        """The folders `batch=...` that are there, with the time of their last change, unix s."""
        with self._lock:
            return {name: one.changed_ns / 1e9 for name, one in self._list().items()}

    def all(self) -> list[File]:
        """Every file that can be read."""
        return self.written_since(0.0)

    def written_since(self, time_ms: float) -> list[File]:
        """The files in folders that have changed since `time_ms` (epoch ms)."""
        with self._lock:
            found = self._list()
            return self._files([n for n, one in found.items() if one.changed_ns / 1e6 >= time_ms])

    def since(self, time_ms: float) -> list[File]:
        """The files that can hold rows from `time_ms` (epoch ms) on.

        A row is not written before its time, so that older folders are not even opened.
        """
        files = self.written_since(time_ms)
        return [one for one in files if one.newest_ms is None or one.newest_ms >= time_ms]

    def at(self, paths: Iterable[str]) -> list[File]:
        """Those of some files that can be read."""
        wanted = {str(Path(path).absolute()) for path in paths}
        names = {Path(path).parent.name for path in wanted}
        with self._lock:
            if not names <= self._folders.keys():
                self._list()
            files = self._files(sorted(names))
        return [one for one in files if one.path in wanted]

    def left_aside(self) -> dict[str, str]:
        """The files that can't be read, each with the reason."""
        with self._lock:
            return {path: reason for path, (_, reason) in self._left_aside.items()}

    def leave_aside(self, path: str, reason: str) -> None:
        """Read a file no more until it has changed; says so once."""
        with self._lock:
            self._refuse(path, stamp_of(path), reason)
            self._folders.pop(Path(path).parent.name, None)

    def look_again(self, files: Collection[File]) -> bool:
        """Whether some of `files` are gone or others than they were: they are looked at anew."""
        changed = [one for one in files if stamp_of(one.path) != one.stamp]
        with self._lock:
            for one in changed:
                self._folders.pop(Path(one.path).parent.name, None)
        return bool(changed)

    def _list(self) -> dict[str, _Folder]:
        try:
            with os.scandir(self._path) as entries:
                there = dict(_changed_ns(e for e in entries if e.name.startswith(BATCH)))
        except FileNotFoundError:
            there = {}
        except OSError as error:
            raise not_listed(self._path, error) from error
        known = self._folders
        self._folders = {
            name: known[name] if name in known and known[name].changed_ns == at else _Folder(at)
            for name, at in sorted(there.items())
        }
        if self._left_aside:
            names = self._folders.keys()
            kept = self._left_aside.items()
            self._left_aside = {p: why for p, why in kept if Path(p).parent.name in names}
        return self._folders

    def _files(self, names: Iterable[str]) -> list[File]:
        found: list[File] = []
        for name in names:
            folder = self._folders.get(name)
            if folder is None:
                continue
            if folder.files is None:
                folder.files = list(self._look(self._path / name))
            found += folder.files
        return found

    def _look(self, folder: Path) -> Iterator[File]:
        try:
            names = sorted(name for name in os.listdir(folder) if name.endswith(".parquet"))
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self._refuse(str(folder), stamp_of(str(folder)), str(error))
            return
        for name in names:
            if name.startswith((".", "_")):
                continue
            path, stamp = f"{folder}/{name}", stamp_of(f"{folder}/{name}")
            if stamp == GONE or self._left_aside.get(path, (None,))[0] == stamp:
                continue
            try:
                yield read_footer(path, stamp, self._table)
            except Unreadable as error:
                self._refuse(path, stamp, str(error))
            else:
                self._left_aside.pop(path, None)

    def _refuse(self, path: str, stamp: Stamp, reason: str) -> None:
        if stamp == GONE:
            return
        if self._left_aside.get(path, (None,))[0] != stamp:
            event(log, "file_left_aside", level=logging.WARNING, file=path, reason=reason)
        self._left_aside[path] = stamp, reason


@cache
def table_files(warehouse_dir: Path, table: Table) -> TableFiles:
    """What this process knows of a table's files; `warehouse_dir` is absolute."""
    return TableFiles(warehouse_dir, table)


def by_columns(files: Iterable[File]) -> list[tuple[list[str], list[str]]]:
    """Files that can be read together: names of columns, and the paths of the files that have them
    in the same types."""
    found: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for one in files:
        found.setdefault(one.columns, []).append(one.path)
    return [([name for name, _ in columns], paths) for columns, paths in found.items()]


def _changed_ns(entries: Iterable["os.DirEntry[str]"]) -> Iterator[tuple[str, int]]:
    for entry in entries:
        with suppress(FileNotFoundError):
            yield entry.name, entry.stat().st_mtime_ns
