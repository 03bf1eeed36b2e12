"""The warehouse as views: plain SQL over its Parquet files.

The views are one text that Spark SQL and DuckDB both run (`sql/views.sql`); each engine only says
for itself how it reads the files beneath them. Those that can't be read are left aside
(`store/readable.py`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import duckdb
import pandas as pd

from conf.errors import ConfigurationError, RetryLater
from conf.sections import local_folder
from conf.timeframes import TIMEFRAME_MS
from model.intervals import QUANTILES
from store import engine
from store.footer import File
from store.readable import TableFiles, by_columns, table_files
from store.schema import COVERED, LIVELIER, TABLES

VIEWS: Final = Path(__file__).parent.parent / "sql" / "views.sql"
# What readers say where the table `scores` gave no rows.
NO_SCORES: Final = "No scores, or none that fit: `candlecast score` computes them."
# Looks at a warehouse that changes under the reader, or has files that turn out to be damaged.
ATTEMPTS: Final = 5

T = TypeVar("T")
# Paths by table.
Paths = Mapping[str, Sequence[str]]
Files = Mapping[str, Sequence[File]]


class WarehouseChanged(RetryLater):
    """Files went while they were read, or are damaged: without them the same question has an
    answer."""


def view_statements() -> list[str]:
    """The statements, in order, that create the views over `bars_raw`, `predictions_raw` ..."""
    lines = [line for line in VIEWS.read_text().splitlines() if not line.startswith("--")]
    tables = {name: table.once for name, table in TABLES.items()}
    quantiles = ", ".join(f"n.{name}" for name in QUANTILES)
    filled = "\n".join(lines).format(
        bar_length=_bar_length(),
        covered=COVERED,
        quantiles=quantiles,
        livelier=LIVELIER,
        **tables,
    )
    return [part.strip() for part in filled.split(";") if part.strip()]


def _bar_length() -> str:
    """SQL: the length of the column `interval`."""
    cases = " ".join(
        f"WHEN '{name}' THEN INTERVAL '{ms // 1000}' SECOND" for name, ms in TIMEFRAME_MS.items()
    )
    return f"CASE interval {cases} END"


def files_of(warehouse_dir: str | Path) -> dict[str, TableFiles]:
    """What this process knows of the files of a local warehouse, by table."""
    folder = warehouse_folder(warehouse_dir)
    return {name: table_files(folder, table) for name, table in TABLES.items()}


def paths_of(warehouse_dir: str | Path, *tables: str) -> dict[str, list[str]]:
    """All files of some tables alone, as `open_duckdb` takes them."""
    known = files_of(warehouse_dir)
    return {name: [one.path for one in known[name].all()] for name in tables}


def warehouse_folder(warehouse_dir: str | Path) -> Path:
    """The warehouse as a folder of this machine, absolute.

    Raises ConfigurationError where it is none.
    """
    folder = local_folder(str(warehouse_dir))
    if folder is None:
        raise ConfigurationError(
            f"DuckDB reads folders of this machine, warehouse.dir is {warehouse_dir}: use Spark"
        )
    return folder.absolute()


@contextmanager
def open_duckdb(
    warehouse_dir: str | Path, files: Paths | None = None, *, closed: bool = False
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection of its own with every view, times in UTC; `ask` goes on where this one can't.

    `files` are paths, by table, to read instead of all of all. All connections of a process
    share one limit on memory and threads; a `closed` one is of a process that has no other: it
    reads this warehouse and nothing else, and changes no setting. Raises ConfigurationError where
    the warehouse is not a folder of this machine, WarehouseChanged where files of it went in the
    meantime or turned out to be damaged.
    """
    known = files_of(warehouse_dir)
    if files is None:
        chosen = {name: one.all() for name, one in known.items()}
    else:
        chosen = {name: known[name].at(paths) for name, paths in files.items()}
    with engine.connection(warehouse_folder(warehouse_dir) if closed else None) as connection:
        for name, table in TABLES.items():
            groups = [
                (engine.parquet(paths), columns)
                for columns, paths in by_columns(chosen.get(name, ()))
            ]
            source = table.read(groups, engine.BATCH_OF_FILE)
            connection.execute(f"CREATE TEMP VIEW {name}_raw AS {source}")
        for statement in view_statements():
            connection.execute(statement)
        try:
            yield connection
        except (duckdb.Error, UnicodeDecodeError) as error:
            may_be_damaged = not isinstance(error, engine.FAULTS_OF_THE_QUERY)
            if leave_damaged_aside(known, chosen, may_be_damaged):
                raise WarehouseChanged(
                    f"files of {warehouse_dir} went while they were read, or are damaged: {error}"
                ) from error
            raise


def leave_damaged_aside(known: Mapping[str, TableFiles], files: Files, deep: bool) -> bool:
    """Whether some of `files` are gone or others than they were or, where no such was found and it
    is worth a `deep` look at every value, damaged; these will not be read again."""
    if sum(known[name].look_again(found) for name, found in files.items()):
        return True
    damaged = False
    for name, found in files.items() if deep else ():
        for one in found:
            if why := engine.damage(one):
                known[name].leave_aside(one.path, why)
                damaged = True
    return damaged


def ask(
    warehouse_dir: str | Path,
    question: Callable[[duckdb.DuckDBPyConnection], T],
    files: Callable[[], Paths | None] = lambda: None,
    *,
    closed: bool = False,
) -> T:
    """What `question` finds in the views, without files that went or are damaged meanwhile.

    `files` is called before each attempt; it and `closed` are those of `open_duckdb`.
    """
    for attempt in range(ATTEMPTS):
        try:
            with open_duckdb(warehouse_dir, files(), closed=closed) as connection:
                return question(connection)
        except WarehouseChanged:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("the last attempt has returned or raised")


def read_sql(
    warehouse_dir: str | Path, query: str, values: Sequence[Any] | Mapping[str, Any] = ()
) -> pd.DataFrame:
    """The rows of a query over the views, by DuckDB; times are UTC without a zone."""
    return ask(warehouse_dir, lambda connection: connection.execute(query, values).df())
