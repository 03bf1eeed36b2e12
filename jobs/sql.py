"""`candlecast sql`: a query over the warehouse, printed as a table."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Final

import duckdb
import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from conf.errors import ConfigurationError
from conf.settings import load_settings
from store import engine as duckdb_engine
from store.views import NO_SCORES, ask

MAX_ROWS: Final = 1_000
_SCORES: Final = re.compile(r"\bscore(board|s)\b", re.IGNORECASE)

_QUESTIONS: Final = ([duckdb.StatementType.SELECT], [duckdb.StatementType.EXPLAIN])

Rows = list[tuple[Any, ...]]


def sql(
    query: Annotated[str, typer.Argument(help="over bars, predictions, scored, scoreboard, ...")],
    engine: Annotated[str, typer.Option(help="duckdb, or spark: the same views")] = "duckdb",
) -> None:
    """Query the warehouse: bars, predictions, outlook, skipped, arima, scored, scores, scoreboard,
    drift, articles, sentiment (times in UTC)."""
    warehouse_dir = load_settings().warehouse.dir
    if engine not in ("duckdb", "spark"):
        raise ConfigurationError(f"--engine {engine}: there are duckdb, spark")
    if not query.strip():
        raise ConfigurationError('the query is empty: candlecast sql "SELECT * FROM bars LIMIT 9"')
    names, rows = (ask_duckdb if engine == "duckdb" else _by_spark)(query, warehouse_dir)
    console = Console()
    cells = [["" if value is None else escape(str(value)) for value in row] for row in rows]
    show(console, [*map(escape, names)], cells[:MAX_ROWS])
    if not rows and _SCORES.search(query):
        console.print(NO_SCORES)
    if len(rows) > MAX_ROWS:
        console.print(f"The first {MAX_ROWS:,} rows; `candlecast export` writes them all.")


def show(console: Console, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table; where it is wider than the terminal, each row is a table of its own, upright."""
    table = Table(*names)
    for row in rows:
        table.add_row(*row)
    unbound = console.options.update(width=100_000)
    if not rows or console.measure(table, options=unbound).maximum <= console.width:
        console.print(table)
        return
    for number, row in enumerate(rows, 1):
        upright = Table("", f"row {number}", box=box.SIMPLE_HEAD)
        for name, value in zip(names, row, strict=True):
            upright.add_row(name, value)
        console.print(upright)


def ask_duckdb(query: str, warehouse_dir: str) -> tuple[list[str], Rows]:
    """Names and rows of one question over the views, by a DuckDB that sees nothing else.

    Raises ConfigurationError where it is none, or has no answer.
    """

    def question(connection: duckdb.DuckDBPyConnection) -> tuple[list[str], Rows]:
        statements = connection.extract_statements(query)
        if [one.type for one in statements] not in _QUESTIONS:
            raise ConfigurationError("--engine duckdb answers one SELECT, and changes nothing")
        result = connection.execute(statements[0])
        return [column[0] for column in result.description or []], result.fetchmany(MAX_ROWS + 1)

    try:
        return ask(warehouse_dir, question, closed=True)
    except duckdb.Error as error:
        raise ConfigurationError(duckdb_engine.reason(error)) from error


def _by_spark(query: str, warehouse_dir: str) -> tuple[list[str], Rows]:
    from pyspark.sql import SparkSession

    from store.spark_views import ask_spark

    # One machine answers: Spark's 200 partitions a shuffle would make a second half a minute.
    builder = SparkSession.builder.appName("candlecast-sql")
    builder = builder.config("spark.sql.shuffle.partitions", "4")
    spark = builder.config("spark.sql.adaptive.enabled", "true").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    try:
        return ask_spark(spark, warehouse_dir, query, MAX_ROWS + 1)
    finally:
        spark.stop()
