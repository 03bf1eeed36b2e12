"""`candlecast sql`: a query over the warehouse, printed as a table."""

import os
import re
from typing import Annotated, Any, Final

import duckdb
import typer
from rich.console import Console
from rich.table import Table

from conf.errors import ConfigurationError
from conf.settings import load_settings
from store.views import NO_SCORES, VIEWS, ask_spark, open_duckdb

MAX_ROWS: Final = 1_000
_SCORES: Final = re.compile(r"\bscore(board|s)\b", re.IGNORECASE)

Rows = list[tuple[Any, ...]]


def sql(
    query: Annotated[str, typer.Argument(help="over bars, predictions, scored, scoreboard, ...")],
    engine: Annotated[str, typer.Option(help="spark, or duckdb: up in a second")] = "spark",
) -> None:
    """Query the warehouse: bars, predictions, skipped, arima, scored, scores, scoreboard, drift,
    articles, sentiment (times in UTC)."""
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
    if not rows and _SCORES.search(query):
        console.print(NO_SCORES)
    if len(rows) > MAX_ROWS:
        console.print(f"The first {MAX_ROWS:,} rows; `candlecast export` writes them all.")


def _by_duckdb(query: str, warehouse_dir: str) -> tuple[list[str], Rows]:
    with open_duckdb(warehouse_dir) as connection:
        result = connection.execute(query)
        return [column[0] for column in result.description or []], result.fetchmany(MAX_ROWS + 1)


def _by_spark(query: str, warehouse_dir: str) -> tuple[list[str], Rows]:
    os.environ.setdefault("SPARK_CONF_DIR", str(VIEWS.parent.parent / "conf"))
    from pyspark.sql import SparkSession

    # One machine answers: Spark's 200 partitions a shuffle would make a second half a minute.
    builder = SparkSession.builder.appName("candlecast-sql")
    builder = builder.config("spark.sql.shuffle.partitions", "4")
    spark = builder.config("spark.sql.adaptive.enabled", "true").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    try:
        return ask_spark(spark, warehouse_dir, query, MAX_ROWS + 1)
    finally:
        spark.stop()
