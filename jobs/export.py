"""`candlecast export`: rows of a table or view into a file, for other tools."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import duckdb
import typer

from conf.errors import ConfigurationError
from conf.settings import load_settings
from store import engine
from store.schema import TABLES, TEXT
from store.views import NO_SCORES, ask

FORMATS: Final = {
    "csv": "CSV, HEADER",
    "parquet": "PARQUET, COMPRESSION zstd",
    "json": "JSON, ARRAY",
}
# What a range of time means in each of them.
TIME_OF: Final = {"scored": "target_time", **{t.name: t.time for t in TABLES.values()}}


def export(
    symbol: Annotated[str | None, typer.Option(help="BTC-USD; all if not given")] = None,
    table: Annotated[str, typer.Option(help=", ".join(TIME_OF))] = "predictions",
    from_: Annotated[datetime | None, typer.Option("--from", help="UTC, inclusive")] = None,
    to: Annotated[datetime | None, typer.Option(help="UTC, exclusive")] = None,
    format_: Annotated[str, typer.Option("--format", help=", ".join(FORMATS))] = "csv",
    out: Annotated[Path | None, typer.Option(help="default: TABLE.FORMAT in this folder")] = None,
) -> None:
    """Write rows of the warehouse as CSV, Parquet or JSON; times in UTC."""
    if format_ not in FORMATS or table not in TIME_OF:
        raise ConfigurationError(
            f"--format {format_} --table {table}: formats are {', '.join(FORMATS)}, "
            f"tables {', '.join(TIME_OF)}"
        )
    file = out or Path(f"{table}.{format_}")
    rows = export_rows(load_settings().warehouse.dir, table, file, format_, symbol, from_, to)
    typer.echo(f"{rows:,} rows of {table} in {file}")
    if table == "scores" and not rows:
        typer.echo(NO_SCORES)


def export_rows(
    warehouse_dir: str | Path,
    table: str,
    file: Path,
    form: str,
    symbol: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> int:
    """Write the chosen rows to `file` in order of time and symbol; returns how many.

    `since` is included, `until` is not. A time without a zone is UTC.
    """
    time = TIME_OF[table]
    columns = TABLES["predictions" if table == "scored" else table].columns
    if symbol is not None and "symbol" not in columns:
        raise ConfigurationError(f"--symbol {symbol}: {table} has no symbols")
    bounds = {"symbol =": symbol, f"{time} >=": _utc(since), f"{time} <": _utc(until)}
    values = {clause: value for clause, value in bounds.items() if value is not None}
    where = " AND ".join(["true", *(f"{clause} ?" for clause in values)])
    order = ", ".join([time, *list(columns)[:2]])
    texts = [name for name, kind in columns.items() if kind == TEXT] if form == "csv" else []
    shown = f"* REPLACE ({', '.join(map(_no_formula, texts))})" if texts else "*"
    query = f"SELECT {shown} FROM (SELECT * FROM {table} WHERE {where}) ORDER BY {order}"
    target = engine.text(str(file.absolute()))
    copy = f"COPY ({query}) TO {target} (FORMAT {FORMATS[form]}, USE_TMP_FILE true)"

    def question(connection: duckdb.DuckDBPyConnection) -> int:
        ((count,),) = connection.execute(copy, [*values.values()]).fetchall()
        return int(count)

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return ask(warehouse_dir, question)
    except (duckdb.Error, OSError) as error:
        raise ConfigurationError(f"{file} can't be written: {engine.reason(error)}") from error


def _no_formula(name: str) -> str:
    """SQL: a text that no spreadsheet takes for a formula, behind an apostrophe as OWASP has it."""
    return rf"regexp_replace({name}, '^([=+@\t\r-])', '''\1') AS {name}"


def _utc(time: datetime | None) -> datetime | None:
    if time is None or time.tzinfo is None:
        return time
    return time.astimezone(UTC).replace(tzinfo=None)
