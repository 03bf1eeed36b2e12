"""What `score` keeps of the warehouse, so that a look costs what is new: one DuckDB file.

```
 files that changed since -> predictions, closes, arima   the rows of a week
                                      -> sums             of each series by block, computed once
                                      -> totals           of all blocks that are closed
```
A block is `BLOCK_BARS` bars of target times. It closes once a week has passed, and its rows go:
what comes later for it, new or revised, is left out of the scores and counted in the log. All that
is kept follows from the warehouse: lost, damaged or of another version, it is made anew.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from conf.events import event
from conf.timeframes import TIMEFRAME_MS
from store.files import BATCH, COMMITTED
from store.schema import ARIMA, BARS, DISTRIBUTION, FITS, PREDICTIONS, Table
from store.views import open_duckdb

log = logging.getLogger(__name__)

FOLDER: Final = "_scores"
FILE: Final = "outcomes.duckdb"
BLOCK_BARS: Final = 240
DAY_MS: Final = 86_400_000
# The longest span that moves on with time; blocks that it may still cut stay open.
OPEN_MS: Final = 7 * DAY_MS
# What ARIMA looks back on from the period that it forecasts.
CLOSES_BARS: Final = 6_000
# So many rows are taken in at once, for a bound on memory.
_ROWS_AT_ONCE: Final = 1_500_000
_READ: Final = (BARS, PREDICTIONS, ARIMA)
# One row a series, horizon, model version, and live or backfilled.
KEY: Final = ("symbol", "interval", "horizon", "model_version", "backfilled")
_VERSION: Final = 5
_LAYOUT: Final = f"""
CREATE TABLE kept.files (name VARCHAR, size BIGINT, changed BIGINT);
CREATE TABLE kept.closes (symbol VARCHAR, interval VARCHAR, time BIGINT, close DOUBLE,
                          fetched_at BIGINT, look BIGINT);
CREATE TABLE kept.predictions (
    symbol VARCHAR, interval VARCHAR, horizon INTEGER, model_version VARCHAR, backfilled BOOLEAN,
    as_of BIGINT, target BIGINT, last_close DOUBLE, predicted_close DOUBLE, lower DOUBLE,
    upper DOUBLE, coverage DOUBLE, {", ".join(f"{name} DOUBLE" for name in DISTRIBUTION)},
    predicted_at BIGINT, look BIGINT);
CREATE TABLE kept.arima (symbol VARCHAR, interval VARCHAR, as_of BIGINT, horizon INTEGER,
                         arima_close DOUBLE);
CREATE TABLE kept.sums (symbol VARCHAR, interval VARCHAR, horizon INTEGER, model_version VARCHAR,
                        backfilled BOOLEAN, block BIGINT, numbers DOUBLE[]);
CREATE TABLE kept.totals AS SELECT * EXCLUDE (block) FROM kept.sums;
CREATE TABLE kept.closed (symbol VARCHAR, interval VARCHAR, horizon INTEGER, model_version VARCHAR,
                          until BIGINT);
CREATE TABLE kept.newest (interval VARCHAR, until BIGINT);
CREATE TABLE kept.factors (model_version VARCHAR, factors DOUBLE[], look BIGINT);
CREATE TABLE kept.state (version INTEGER, look BIGINT, arima_look BIGINT);
INSERT INTO kept.state VALUES ({_VERSION}, 0, 0);
"""
# SQL: the length of a bar in ms, and the number of the block of a target time.
BAR_MS: Final = (
    "CASE interval " + " ".join(f"WHEN '{n}' THEN {ms}" for n, ms in TIMEFRAME_MS.items()) + " END"
)
BLOCK: Final = f"((target - 1) // ({BLOCK_BARS} * {BAR_MS}))"
_NEW_CLOSES: Final = """
CREATE OR REPLACE TEMP TABLE new_closes AS
SELECT symbol, interval, epoch_ms(close_time) AS time, close, epoch_ms(fetched_at) AS fetched_at
FROM bars WHERE epoch_ms(close_time) <= $latest AND close BETWEEN 1e-30 AND 1e30
"""
_KNOWN_CLOSES: Final = """
CREATE OR REPLACE TEMP TABLE known_closes AS
SELECT k.* FROM kept.closes k SEMI JOIN new_closes n USING (symbol, interval, time)
WHERE k.time BETWEEN (SELECT min(time) FROM new_closes) AND (SELECT max(time) FROM new_closes)
"""
_SAME_CLOSES: Final = """
DELETE FROM new_closes n USING known_closes k
WHERE n.symbol = k.symbol AND n.interval = k.interval AND n.time = k.time
  AND (n.fetched_at <= k.fetched_at OR n.close = k.close)
"""
_OLD_CLOSES: Final = """
DELETE FROM kept.closes k USING new_closes n
WHERE n.symbol = k.symbol AND n.interval = k.interval AND n.time = k.time
"""
# A revised bar keeps the look at which its time was first known: outcomes count once elsewhere.
_ADD_CLOSES: Final = """
INSERT INTO kept.closes
SELECT n.*, coalesce(k.look, $look) FROM new_closes n
LEFT JOIN known_closes k USING (symbol, interval, time) ORDER BY n.time
"""
_NEW_PREDICTIONS: Final = f"""
CREATE OR REPLACE TEMP TABLE new_predictions AS
SELECT symbol, interval, horizon, model_version, backfilled, epoch_ms(as_of) AS as_of,
       epoch_ms(target_time) AS target, last_close, predicted_close, lower, upper, coverage,
       {", ".join(DISTRIBUTION)}, epoch_ms(predicted_at) AS predicted_at
FROM predictions WHERE NOT in_sample AND epoch_ms(target_time) <= $latest
  AND last_close BETWEEN 1e-30 AND 1e30 AND predicted_close BETWEEN 1e-30 AND 1e30
  AND lower BETWEEN 0 AND upper AND upper < 1e30
"""
_SAME_PREDICTIONS: Final = """
DELETE FROM new_predictions n USING kept.predictions k
WHERE n.symbol = k.symbol AND n.interval = k.interval AND n.target = k.target
  AND n.horizon = k.horizon AND n.model_version = k.model_version
  AND k.target BETWEEN (SELECT min(target) FROM new_predictions)
                   AND (SELECT max(target) FROM new_predictions)
"""
_LATE_PREDICTIONS: Final = """
DELETE FROM new_predictions n USING kept.closed c
WHERE n.symbol = c.symbol AND n.interval = c.interval AND n.horizon = c.horizon
  AND n.model_version = c.model_version AND n.target <= c.until
"""
_ADD_PREDICTIONS: Final = (
    "INSERT INTO kept.predictions SELECT *, $look FROM new_predictions ORDER BY target"
)
_NEW_ARIMA: Final = """
CREATE OR REPLACE TEMP TABLE new_arima AS
SELECT n.symbol, n.interval, epoch_ms(n.as_of) AS as_of, n.horizon, n.arima_close
FROM arima n ANTI JOIN kept.arima k
  ON n.symbol = k.symbol AND n.interval = k.interval AND epoch_ms(n.as_of) = k.as_of
  AND n.horizon = k.horizon
ORDER BY n.as_of
"""
# Blocks in which something is new or other than before; a position is held on from the forecast
# of a horizon before, and a close counts for trailing volatility in the blocks after it, unless
# those before them are closed.
_CHANGED: Final = f"""
CREATE OR REPLACE TEMP TABLE changed AS
SELECT DISTINCT interval, {BLOCK} AS block FROM (
    SELECT interval, target FROM new_predictions
    UNION ALL SELECT interval, target + horizon * {BAR_MS} FROM new_predictions
    UNION ALL SELECT interval, time AS target FROM new_closes
    UNION ALL SELECT interval, time + later.range * {BLOCK_BARS} * {BAR_MS}
    FROM (FROM new_closes n ANTI JOIN kept.closed c
          ON n.symbol = c.symbol AND n.interval = c.interval AND n.time <= c.until),
         range(1, 4) AS later
    UNION ALL SELECT interval, as_of + horizon * {BAR_MS} FROM new_arima)
"""
_FORGET_CHANGED: Final = """
DELETE FROM kept.sums s USING changed c WHERE s.interval = c.interval AND s.block = c.block
"""
_NEWEST: Final = """
CREATE OR REPLACE TEMP TABLE until AS
SELECT p.interval, max(p.target) AS until
FROM kept.predictions p
SEMI JOIN kept.closes c ON p.symbol = c.symbol AND p.interval = c.interval AND p.target = c.time
LEFT JOIN kept.newest n ON p.interval = n.interval
WHERE n.until IS NULL OR p.target > n.until GROUP BY p.interval
"""
_SET_NEWEST: Final = (
    "DELETE FROM kept.newest WHERE interval IN (SELECT interval FROM until)",
    "INSERT INTO kept.newest SELECT * FROM until",
)


@dataclass(frozen=True)
class NewFile:
    """A file of a table that is not taken in yet, or was replaced; `since_ms` is its first time."""

    table: Table
    name: str
    size: int
    changed: int
    since_ms: int
    rows: int


@contextmanager
def opened(
    warehouse_dir: Path, files: Sequence[NewFile] = ()
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with what is kept as the schema `kept`, and views over `files` alone."""
    place = warehouse_dir / FOLDER / FILE
    place.parent.mkdir(parents=True, exist_ok=True)
    by_table: dict[str, list[str]] = {
        FITS.name: [str(file) for file in warehouse_dir.glob(f"{FITS.name}/{COMMITTED}")]
    }
    for file in files:
        by_table.setdefault(file.table.name, []).append(str(warehouse_dir / file.name))
    with open_duckdb(warehouse_dir, by_table) as connection:
        try:
            _attach(connection, place)
        except duckdb.Error as error:
            event(log, "state_unreadable", level=logging.WARNING, file=place, reason=error)
            discard(warehouse_dir)
            _attach(connection, place)
        try:
            yield connection
        finally:
            connection.execute("DETACH kept")


def discard(warehouse_dir: Path) -> None:
    """Forget what is kept; the next look makes it anew from the warehouse."""
    for name in (FILE, f"{FILE}.wal"):
        (warehouse_dir / FOLDER / name).unlink(missing_ok=True)


def _attach(connection: duckdb.DuckDBPyConnection, place: Path) -> None:
    path = str(place).replace("'", "''")
    is_new = not place.exists()
    connection.execute(f"ATTACH '{path}' AS kept")
    try:
        if is_new:
            connection.execute("BEGIN")
            connection.execute(_LAYOUT)
            connection.execute("COMMIT")
        if connection.execute("SELECT version FROM kept.state").fetchall() != [(_VERSION,)]:
            raise duckdb.CatalogException("it is of another version")
    except duckdb.Error:
        connection.execute("DETACH kept")
        raise


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All that is changed in the block, or nothing of it."""
    connection.execute("BEGIN")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def new_files(warehouse_dir: Path) -> list[list[NewFile]]:
    """The files that are not taken in yet, in groups to take in one after the other, by time."""
    with opened(warehouse_dir) as connection:
        known = set(connection.execute("SELECT * FROM kept.files").fetchall())
        # Compacted away: a year of minutes has millions of names.
        gone = [name for name, *_ in known if not (warehouse_dir / name).exists()]
        if gone:
            connection.execute("DELETE FROM kept.files WHERE name IN (SELECT unnest(?))", [gone])
    found = [file for table in _READ for file in _changed_files(warehouse_dir, table, known)]
    found.sort(key=lambda file: file.since_ms)
    groups: list[list[NewFile]] = []
    for file in found:
        # A day's bars and predictions stay together: these are known by those.
        new_day = groups and file.since_ms // DAY_MS > groups[-1][-1].since_ms // DAY_MS
        if not groups or (
            new_day and sum(f.rows for f in groups[-1]) + file.rows > _ROWS_AT_ONCE // 2
        ):
            groups.append([])
        groups[-1].append(file)
    return groups


def _changed_files(
    warehouse_dir: Path, table: Table, known: set[tuple[str, int, int]]
) -> Iterator[NewFile]:
    for file in warehouse_dir.glob(f"{table.name}/{BATCH}*/*.parquet"):
        name = str(file.relative_to(warehouse_dir))
        try:
            stat = file.stat()
            if (name, stat.st_size, stat.st_mtime_ns) in known:
                continue
            since, rows = _first_time(pq.read_metadata(file), table.time)
        except (OSError, pa.ArrowException):
            continue  # gone since it was listed, or not whole: the next look sees
        yield NewFile(table, name, stat.st_size, stat.st_mtime_ns, since, rows)


def _first_time(metadata: pq.FileMetaData, column: str) -> tuple[int, int]:
    """The earliest time in a file, epoch ms UTC, 0 where its statistics do not say; its rows."""
    place = metadata.schema.names.index(column) if column in metadata.schema.names else None
    times = []
    for group in range(metadata.num_row_groups if place is not None else 0):
        statistics = metadata.row_group(group).column(place).statistics
        if statistics is not None and statistics.has_min_max:
            with suppress(AttributeError, OverflowError, ValueError):  # no time, or no calendar's
                times.append(int(statistics.min.timestamp() * 1000))
    return min(times, default=0), metadata.num_rows


def take_in(
    connection: duckdb.DuckDBPyConnection, files: Sequence[NewFile], latest_ms: int
) -> None:
    """Add what the views over `files` hold, as one look.

    Left out are times after `latest_ms`, of which nothing can be known, and numbers that are no
    prices: a square of one must still be a number.
    """
    number: int = connection.execute(
        "UPDATE kept.state SET look = look + 1 RETURNING look"
    ).fetchall()[0][0]
    latest, look = {"latest": latest_ms}, {"look": number}
    connection.execute(_NEW_CLOSES, latest)
    for statement in (_KNOWN_CLOSES, _SAME_CLOSES, _OLD_CLOSES):
        connection.execute(statement)
    connection.execute(_ADD_CLOSES, look)
    connection.execute(_NEW_PREDICTIONS, latest)
    connection.execute(_SAME_PREDICTIONS)
    late = connection.execute(_LATE_PREDICTIONS).fetchall()[0][0]
    connection.execute(_ADD_PREDICTIONS, look)
    connection.execute(_NEW_ARIMA)
    connection.execute("INSERT INTO kept.arima FROM new_arima")
    connection.execute(_CHANGED)
    connection.execute(_FORGET_CHANGED)
    connection.execute(_NEWEST)
    for statement in _SET_NEWEST:
        connection.execute(statement)
    _note(connection, [(file.name, file.size, file.changed) for file in files])
    event(log, "outcomes", files=len(files), too_late=late)


def note_file(connection: duckdb.DuckDBPyConnection, warehouse_dir: Path, file: Path) -> None:
    """Count a file as taken in, as it is."""
    stat = file.stat()
    _note(connection, [(str(file.relative_to(warehouse_dir)), stat.st_size, stat.st_mtime_ns)])


def _note(connection: duckdb.DuckDBPyConnection, files: list[tuple[str, int, int]]) -> None:
    rows = pd.DataFrame(files, columns=["name", "size", "changed"])
    connection.register("files_", rows)
    connection.execute("DELETE FROM kept.files WHERE name IN (SELECT name FROM files_)")
    connection.execute("INSERT INTO kept.files FROM files_")
    connection.unregister("files_")
