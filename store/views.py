"""The warehouse as views: plain SQL over its Parquet folders.

The views are one text that Spark SQL and DuckDB both run (`sql/views.sql`); each engine only says
for itself how it reads the Parquet folders beneath them.
"""

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import duckdb
import pandas as pd

from conf.errors import ConfigurationError
from conf.timeframes import TIMEFRAME_MS
from store.files import COMMITTED, committed
from store.schema import COVERED, TABLES

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

VIEWS: Final = Path(__file__).parent.parent / "sql" / "views.sql"
# What readers say where the table `scores` gave no rows.
NO_SCORES: Final = "No scores, or none that fit: `candlecast score` computes them."
SHARED_MEMORY: Final = "2GB"
UNKNOWN_TIMEFRAME: Final = "unknown timeframe"
# Spark's own name for an error and its text, wherever it stands among causes and Java's stack.
_SPARK_ERROR: Final = re.compile(r"\[[A-Z_.]+\] .*")


def view_statements() -> list[str]:
    """The statements, in order, that create the views over `bars_raw`, `predictions_raw` ..."""
    lines = [line for line in VIEWS.read_text().splitlines() if not line.startswith("--")]
    tables = {name: table.once for name, table in TABLES.items()}
    filled = "\n".join(lines).format(bar_length=_bar_length(), covered=COVERED, **tables)
    return [part.strip() for part in filled.split(";") if part.strip()]


def _bar_length() -> str:
    """SQL: the length of the column `interval`; a timeframe that we do not know is an error."""
    cases = " ".join(
        f"WHEN '{name}' THEN INTERVAL '{ms // 1000}' SECOND" for name, ms in TIMEFRAME_MS.items()
    )
    known = f": conf/timeframes.py has {', '.join(TIMEFRAME_MS)}"
    error = f"raise_error(concat('{UNKNOWN_TIMEFRAME} ', interval, '{known}'))"
    return f"CASE interval {cases} ELSE {error} END"


@contextmanager
def open_duckdb(
    warehouse_dir: str | Path,
    files: Mapping[str, Sequence[str]] | None = None,
    threads: int | None = None,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection of its own with every view, times in UTC.

    `files` are the Parquet files to read of each table (patterns are allowed) instead of all of
    all; `threads` bounds the machine's share, memory included, of a reader beside the stream.
    Raises ConfigurationError where the warehouse is not a folder of this machine, or holds bars of
    a timeframe that we do not know.
    """
    if "://" in str(warehouse_dir) and not str(warehouse_dir).startswith("file://"):
        raise ConfigurationError(
            f"DuckDB reads folders of this machine, warehouse.dir is {warehouse_dir}: use Spark"
        )
    folder = Path(str(warehouse_dir).removeprefix("file://"))
    with duckdb.connect() as connection:
        if threads is not None:
            # Beside the stream: what does not fit goes to disk, not into the stream's memory.
            connection.execute(f"SET threads = {threads}")
            connection.execute(f"SET memory_limit = '{SHARED_MEMORY}'")
            connection.execute(f"SET temp_directory = '{tempfile.gettempdir()}/candlecast-duckdb'")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("CREATE TEMP MACRO raise_error(message) AS error(message)")
        for name, table in TABLES.items():
            found = committed(folder, name) if files is None else files.get(name, ())
            connection.execute(f"CREATE TEMP VIEW {name}_raw AS {table.read(_parquet(found))}")
        for statement in view_statements():
            connection.execute(statement)
        try:
            yield connection
        except duckdb.InvalidInputException as error:
            if UNKNOWN_TIMEFRAME in str(error):
                raise ConfigurationError(str(error).split(": ", 1)[1]) from error
            raise


def _parquet(files: Sequence[str]) -> str | None:
    """DuckDB's SQL for the rows of some files; None of none."""
    listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    return f"read_parquet([{listed}], hive_partitioning = true)" if listed else None


def read_sql(
    warehouse_dir: str | Path, query: str, values: Sequence[Any] | Mapping[str, Any] = ()
) -> pd.DataFrame:
    """The rows of a query over the views, by DuckDB; times are UTC without a zone."""
    with open_duckdb(warehouse_dir) as connection:
        return connection.execute(query, values).df()


def ask_spark(
    spark: "SparkSession", warehouse_dir: str, query: str, most: int
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Names and at most so many rows of a query over the views, by Spark, on any path it knows.

    Raises ConfigurationError where Spark can't answer, or meets an unknown timeframe.
    """
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    try:
        create_spark_views(spark, warehouse_dir)
        result = spark.sql(query)
        return result.columns, [tuple(row) for row in result.limit(most).collect()]
    except (PySparkException, Py4JJavaError) as error:
        found = _SPARK_ERROR.search(str(error))
        raise ConfigurationError(found[0] if found else str(error).splitlines()[0]) from error


def create_spark_views(spark: "SparkSession", warehouse_dir: str) -> None:
    """Create the views of `sql/views.sql` in a Spark session."""
    from spark.files import exists  # who reads through DuckDB need not import Spark

    for name, table in TABLES.items():
        there = exists(spark, f"{warehouse_dir}/{name}/{COMMITTED}")
        source = table.read(f"parquet.`{warehouse_dir}/{name}`" if there else None)
        spark.sql(f"CREATE OR REPLACE TEMP VIEW {name}_raw AS {source}")
    for statement in view_statements():
        spark.sql(statement)
