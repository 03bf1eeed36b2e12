"""`candlecast sql`: a query over the warehouse, printed as a table.

The views are one text that Spark SQL and DuckDB both run (`sql/*.sql`); each engine only says for
itself how it reads the Parquet folders beneath them.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import duckdb
import typer
from rich.console import Console
from rich.table import Table

from conf.errors import ConfigurationError
from conf.settings import load_settings

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
MAX_ROWS: Final = 1_000
SHARED_MEMORY: Final = "2GB"

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
    jvm: Any = spark._jvm
    conf = spark._jsc.hadoopConfiguration()
    for table in TABLES:
        path = jvm.org.apache.hadoop.fs.Path(f"{warehouse_dir}/{table}/{COMMITTED}")
        found = path.getFileSystem(conf).globStatus(path)
        if found is not None and len(found):
            source = f"SELECT * FROM parquet.`{warehouse_dir}/{table}`"
        else:
            source = empty_table(table)
        spark.sql(f"CREATE OR REPLACE TEMP VIEW {table}_raw AS {source}")
    for statement in view_statements(query):
        spark.sql(statement)


def sql(
    query: Annotated[str, typer.Argument(help="over bars, predictions, scored, scoreboard, ...")],
    engine: Annotated[str, typer.Option(help="spark, or duckdb: up in a second")] = "spark",
) -> None:
    """Query the warehouse: bars, predictions, skipped, arima, scored, scoreboard, articles,
    sentiment (times in UTC)."""
    warehouse_dir = load_settings().warehouse.dir
    if engine not in ("spark", "duckdb"):
        raise ConfigurationError(f"--engine {engine}: there are spark, duckdb")
    try:
        names, rows = (_by_duckdb if engine == "duckdb" else _by_spark)(query, warehouse_dir)
    except duckdb.Error as error:
        raise ConfigurationError(f"{error}") from error
    table = Table(*names)
    for row in rows[:MAX_ROWS]:
        table.add_row(*["" if value is None else str(value) for value in row])
    console = Console()
    console.print(table)
    if len(rows) > MAX_ROWS:
        console.print(f"The first {MAX_ROWS:,} rows; `candlecast export` writes them all.")


def _by_duckdb(query: str, warehouse_dir: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    with open_duckdb(warehouse_dir) as connection:
        result = connection.execute(query)
        return [column[0] for column in result.description or []], result.fetchmany(MAX_ROWS + 1)


def _by_spark(query: str, warehouse_dir: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    os.environ.setdefault("SPARK_CONF_DIR", str(SQL_DIR.parent / "conf"))
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    # The scoreboard shuffles some twenty times: Spark's 200 partitions would make it minutes.
    builder = SparkSession.builder.appName("candlecast-sql")
    builder = builder.config("spark.sql.shuffle.partitions", "4")
    spark = builder.config("spark.sql.adaptive.enabled", "true").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    try:
        create_spark_views(spark, warehouse_dir, query)
        result = spark.sql(query)
        return result.columns, [tuple(row) for row in result.limit(MAX_ROWS + 1).collect()]
    except PySparkException as error:
        raise ConfigurationError(str(error).splitlines()[0]) from error
    finally:
        spark.stop()
