"""Whether what programs keep on disk can be read again, and whether what readers see ever falls."""

import json
import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, Self

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from conf.errors import CandlecastError
from store.views import read_sql
from tests.chaos.world import World

log = logging.getLogger(__name__)

READ_EVERY_S: Final = 3.0
# How the names of files and folders begin that nobody reads yet.
UNFINISHED: Final = (".", "_writing", "_compacting")
COUNT: Final = "SELECT count(*) FROM predictions"


def unreadable(folder: Path) -> list[str]:
    """The files that hold state and can't be read; what is still being written is none."""
    files = [
        file
        for file in sorted(folder.rglob("*"))
        if not any(part.startswith(UNFINISHED) for part in file.relative_to(folder).parts)
    ]
    return [f"{file}: {why}" for file in files for why in reasons(file)]


def reasons(file: Path) -> Iterator[str]:
    """Why a file can't be read."""
    if not file.is_file():
        return
    try:
        if file.suffix == ".parquet":
            pq.read_metadata(file)
        elif file.suffix == ".json":
            json.loads(file.read_text())
        elif file.suffix == ".jsonl":
            for line in file.read_text().splitlines():
                json.loads(line)
        elif file.suffix == ".db":
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
                (answer,) = database.execute("PRAGMA integrity_check").fetchone()
            if answer != "ok":
                yield answer
        elif file.suffix == ".duckdb":
            duckdb.connect(str(file), read_only=True).close()
    except FileNotFoundError:
        return
    except (OSError, ValueError, pa.ArrowException, sqlite3.Error, duckdb.Error) as error:
        yield f"{type(error).__name__}: {error}"


class Reader:
    """Asks the views again and again while stream and compaction write: rows may never vanish.

    A `with` block; `failures` says what was wrong.
    """

    def __init__(self, world: World) -> None:
        self.answers = 0
        self.failures: list[str] = []
        self._folder = world.disk.folder
        self._most = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _read(self) -> None:
        while not self._ended.wait(READ_EVERY_S):
            try:
                count = int(read_sql(self._folder, COUNT).iloc[0, 0])
            except (CandlecastError, duckdb.Error, OSError) as error:
                self._fail(f"{type(error).__name__}: {error}")
                continue
            if count < self._most:
                self._fail(f"{count} predictions after {self._most}")
            self.answers += 1
            self._most = max(count, self._most)

    def _fail(self, what: str) -> None:
        log.error("a reader: %s", what)
        self.failures.append(what)
