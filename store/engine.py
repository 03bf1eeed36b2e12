"""DuckDB in this process: one instance, so that its limits count over all connections.

It installs and loads nothing by itself, and what does not fit its memory goes to a folder that
nobody else can read or guess, removed at the end of the process.
"""

import atexit
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import duckdb

from conf.scratch import scratch
from store.footer import File

# Beside the stream: what does not fit goes to disk, not into the stream's memory.
LIMITS: Final[dict[str, Any]] = {
    "memory_limit": "1GB",
    "threads": 2,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
# SQL: the folder `batch=...` that a row's file lies in.
BATCH_OF_FILE: Final = r"regexp_extract(filename, '/batch=([^/]*)/[^/]*$', 1)"
# Errors in which no file has a part.
FAULTS_OF_THE_QUERY: Final = (
    duckdb.ParserException,
    duckdb.CatalogException,
    duckdb.PermissionException,
    duckdb.InterruptException,
    duckdb.DataError,
)
_lock: Final = threading.Lock()
_shared: list[duckdb.DuckDBPyConnection] = []


@contextmanager
def connection(only: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection of the process's instance, times in UTC.

    `only`: an instance of its own that reads nothing outside this folder, nor changes a setting.
    """
    if only is not None:
        own = _open()
        folders = {f"{only}/", _literal(f"{only}/")}  # also as the views name it
        own.execute(f"SET allowed_directories = [{', '.join(map(text, folders))}]")
        own.execute("SET enable_external_access = false")
        opened = own
    else:
        opened = _cursor()
    with opened:
        opened.execute("SET TimeZone = 'UTC'")
        if only is not None:
            opened.execute("SET lock_configuration = true")
        yield opened


def _cursor() -> duckdb.DuckDBPyConnection:
    with _lock:
        try:
            return _alive().cursor()
        except duckdb.Error:  # an error of DuckDB's own has ended the instance
            _shared.clear()
            return _alive().cursor()


def _alive() -> duckdb.DuckDBPyConnection:
    if not _shared:
        _shared.append(_open())
    _shared[0].execute("SELECT 1")
    return _shared[0]


def _open() -> duckdb.DuckDBPyConnection:
    while_it_runs = ExitStack()
    atexit.register(while_it_runs.close)
    spill = while_it_runs.enter_context(scratch("duckdb"))
    return duckdb.connect(config={**LIMITS, "temp_directory": str(spill)})


def parquet(paths: Sequence[str]) -> str:
    """SQL: the rows of some files, whatever characters their names have."""
    return f"read_parquet([{', '.join(text(_literal(path)) for path in paths)}])"


def _literal(path: str) -> str:
    """A path that DuckDB does not take for a pattern.

    >>> _literal("/data/[1]*/part-0.parquet")
    '/data/[[]1][*]/part-0.parquet'
    """
    return "".join(f"[{c}]" if c in "[*?" else c for c in path)


def text(value: str) -> str:
    """A text in SQL."""
    return "'" + value.replace("'", "''") + "'"


def reason(error: Exception) -> str:
    """What an error of DuckDB says, in one line, without its picture of the query.

    >>> reason(duckdb.ParserException("Parser Error: syntax error\\n\\nLINE 1: selec\\n ^"))
    'Parser Error: syntax error'
    """
    return " ".join(str(error).split("\n\nLINE ")[0].split()) or type(error).__name__


def damage(file: File) -> str | None:
    """Why DuckDB can't read every value of a file, or None where it can."""
    columns = ", ".join(f"max(hash({name}))" for name, _ in file.columns)
    try:
        with connection() as reader:
            reader.execute(f"SELECT {columns} FROM {parquet([file.path])}").fetchall()
    except (duckdb.Error, UnicodeDecodeError) as error:
        return reason(error)
    return None
