"""The warehouse as views: plain SQL over its Parquet folders.

The views are one text that Spark SQL and DuckDB both run (`sql/*.sql`); each engine only says for
itself how it reads the Parquet folders beneath them.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import duckdb
import pandas as pd

from conf.errors import ConfigurationError
from spark.files import exists

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SQL_DIR: Final = Path(__file__).parent.parent / "sql"
# Each file with the views that it creates.
VIEWS: Final = {
    "views.sql": (
        *("bars", "predictions", "skipped", "arima", "scored"),
        *("articles", "sentiment"),
    ),
    "scoreboard.sql": ("outcomes", "diebold_mariano", "scoreboard"),
}
# Folders of one micro-batch, or of one compacted day: nothing that is still being written.
COMMITTED: Final = "batch=*/*.parquet"
SHARED_MEMORY: Final = "2GB"
ORDER: Final = "symbol, interval, horizon, model_version, backfilled, span"

_SERIES: Final = {"symbol": "STRING", "interval": "STRING"}
# The tables as they lie in the warehouse. A table that is not there yet is empty, not an error.
TABLES: Final[dict[str, dict[str, str]]] = {
    "bars": {
        **_SERIES,
        "open_time": "TIMESTAMP",
        **dict.fromkeys(("open", "high", "low", "close", "base_volume", "quote_volume"), "DOUBLE"),
        "source": "STRING",
        "fetched_at": "TIMESTAMP",
        "batch": "STRING",
    },
    "predictions": {
        **_SERIES,
        "as_of": "TIMESTAMP",
        "horizon": "INT",
        "target_time": "TIMESTAMP",
        **dict.fromkeys(("last_close", "predicted_close", "lower", "upper", "coverage"), "DOUBLE"),
        "model_version": "STRING",
        "query_id": "STRING",
        "batch_id": "BIGINT",
        "predicted_at": "TIMESTAMP",
        "batch": "STRING",
    },
    "skipped": {**_SERIES, "as_of": "TIMESTAMP", "reason": "STRING", "batch": "STRING"},
    "arima": {
        **_SERIES,
        "as_of": "TIMESTAMP",
        "horizon": "INT",
        "arima_close": "DOUBLE",
        "fitted_until": "TIMESTAMP",
    },
    "articles": {
        **dict.fromkeys(("provider", "id"), "STRING"),
        **dict.fromkeys(("published_at", "available_at"), "TIMESTAMP"),
        **dict.fromkeys(("title", "source", "url", "coins"), "STRING"),
        **dict.fromkeys(("score", "weight"), "DOUBLE"),
        "batch": "STRING",
    },
    "sentiment": {
        **_SERIES,
        "open_time": "TIMESTAMP",
        **dict.fromkeys(("count", "mean", "weighted_mean", "positive", "negative"), "DOUBLE"),
        "batch": "STRING",
    },
    "drift": {
        "interval": "STRING",
        "model_version": "STRING",
        "kind": "STRING",
        "name": "STRING",
        "psi": "DOUBLE",
        "verdict": "STRING",
        "checked_at": "TIMESTAMP",
    },
}


def view_statements(query: str = "scoreboard") -> list[str]:
    """The statements, in order, that create the views which `query` may need."""
    files = [n for n, made in VIEWS.items() if n == "views.sql" or any(v in query for v in made)]
    text = "\n".join((SQL_DIR / name).read_text() for name in files)
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    return [part.strip() for part in "\n".join(lines).split(";") if part.strip()]


def empty_table(table: str) -> str:
    """A query with the columns of a table and no rows, for either engine."""
    columns = ", ".join(f"CAST(NULL AS {kind}) AS {name}" for name, kind in TABLES[table].items())
    return f"SELECT {columns} WHERE 1 = 0"


def open_duckdb(
    warehouse_dir: str | Path,
    files: Mapping[str, Sequence[str]] | None = None,
    threads: int | None = None,
) -> duckdb.DuckDBPyConnection:
    """A connection of its own with every view, times in UTC; the caller closes it.

    `files` narrows tables down to some of their Parquet files (patterns are allowed); `threads`
    bounds the machine's share, memory included, of a reader beside the stream. Raises
    ConfigurationError where the warehouse is not a folder of this machine.
    """
    if "://" in str(warehouse_dir) and not str(warehouse_dir).startswith("file://"):
        raise ConfigurationError(
            f"DuckDB reads folders of this machine, warehouse.dir is {warehouse_dir}: use Spark"
        )
    folder = Path(str(warehouse_dir).removeprefix("file://"))
    connection = duckdb.connect()
    if threads is not None:
        # Beside the stream: what does not fit goes to disk, not into the stream's memory.
        connection.execute(f"SET threads = {threads}")
        connection.execute(f"SET memory_limit = '{SHARED_MEMORY}'")
        connection.execute(f"SET temp_directory = '{tempfile.gettempdir()}/candlecast-duckdb'")
    connection.execute("SET TimeZone = 'UTC'")
    for table in TABLES:
        chosen = None if files is None else files.get(table)
        connection.execute(
            f"CREATE TEMP VIEW {table}_raw AS {_duckdb_source(folder, table, chosen)}"
        )
    for statement in view_statements():
        connection.execute(statement)
    return connection


def _duckdb_source(folder: Path, table: str, files: Sequence[str] | None) -> str:
    if files is None:
        pattern = folder / table / COMMITTED
        files = [str(pattern)] if any(folder.glob(f"{table}/{COMMITTED}")) else []
    if not files:
        return empty_table(table)
    # Spark writes times with or without a zone, by its settings; both mean UTC here.
    columns = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in TABLES[table].items())
    listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    return f"SELECT {columns} FROM read_parquet([{listed}], hive_partitioning = true)"


def create_spark_views(spark: "SparkSession", warehouse_dir: str, query: str) -> None:
    """Create the views that `query` needs, over any path that Hadoop knows.

    Spark takes seconds to analyse the views of the scoreboard: they are left out where not named.
    """
    for table in TABLES:
        if exists(spark, f"{warehouse_dir}/{table}/{COMMITTED}"):
            source = f"SELECT * FROM parquet.`{warehouse_dir}/{table}`"
        else:
            source = empty_table(table)
        spark.sql(f"CREATE OR REPLACE TEMP VIEW {table}_raw AS {source}")
    for statement in view_statements(query):
        spark.sql(statement)


def read_board(warehouse_dir: str | Path, threads: int | None = None) -> pd.DataFrame:
    """The view `scoreboard`, a row a series, horizon, model version, span, live and backfilled."""
    with open_duckdb(warehouse_dir, threads=threads) as connection:
        board: pd.DataFrame = connection.execute(f"SELECT * FROM scoreboard ORDER BY {ORDER}").df()
        return board
