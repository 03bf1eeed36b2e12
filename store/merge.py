"""Merge folders of a table: write each identity once, publish, read back, only then remove."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from conf.errors import CandlecastError
from conf.scratch import scratch
from store.periods import HOUR_MS, Period
from store.schema import Table
from store.table_folder import TableFolder

MEMORY: Final = "1GB"
THREADS: Final = 2
_ROWS_AT_A_TIME: Final = 50_000


@dataclass(frozen=True, slots=True)
class Merged:
    """What one merge did to a table."""

    table: str
    sources: int
    folders: int
    rows: int


@dataclass(frozen=True)
class Plan:
    """The folders to merge, and for each hour (number since 1970) of their rows where it goes."""

    sources: Sequence[str]
    targets: Mapping[int, Period]


def merge(folder: TableFolder, plan: Plan) -> Merged:
    """Write, publish, read back, remove."""
    generations: dict[Period, int] = defaultdict(lambda: -1)
    for period, generation in filter(None, map(Period.named, folder.sizes())):
        generations[period] = max(generations[period], generation)
    sources = folder.rows(plan.sources)
    with _duckdb() as connection:
        staged, rows = _write(connection, folder, sources, plan.targets)
        names = {period: period.folder(generations[period] + 1) for period in staged}
        for period, name in names.items():
            folder.publish(staged[period], name)
        _require_all(connection, folder, sources, list(names.values()), rows)
    folder.remove(plan.sources)
    return Merged(folder.table.name, len(plan.sources), len(names), rows)


@contextmanager
def _duckdb() -> Iterator[duckdb.DuckDBPyConnection]:
    """A bounded connection: what does not fit goes to disk."""
    with scratch("merge") as spill:
        bounds: dict[str, Any] = {
            "memory_limit": MEMORY,
            "threads": THREADS,
            "temp_directory": str(spill),
        }
        with duckdb.connect(config=bounds) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            yield connection


def _hour(table: Table) -> str:
    """SQL: the number of a row's hour since 1970."""
    return f"epoch_ms({table.time}) // {HOUR_MS}"


def rows_by_hour(folder: TableFolder, names: Sequence[str]) -> dict[int, int]:
    """How many rows some folders hold of each hour, by its number since 1970."""
    if not names:
        return {}
    with _duckdb() as connection:
        connection.register("sources", folder.rows(names))
        query = f"SELECT {_hour(folder.table)} AS hour, count(*) FROM sources GROUP BY 1"
        return dict(connection.execute(query).fetchall())


def _write(
    connection: duckdb.DuckDBPyConnection,
    folder: TableFolder,
    sources: ds.Dataset,
    targets: Mapping[int, Period],
) -> tuple[dict[Period, str], int]:
    """Write each identity once; returns the staged folder of each period, and how many rows."""
    table, places = folder.table, sorted(set(targets.values()))
    number = [places.index(period) for period in targets.values()]
    connection.register("sources", sources)
    connection.register("targets", pa.table({"hour": [*targets], "target": number}))
    merged = connection.sql(f"""
        SELECT {", ".join(table.columns)}, target
        FROM (SELECT *, {table.place} AS place, {_hour(table)} AS hour FROM sources) AS versions
        INNER JOIN targets USING (hour) WHERE place = 1
        ORDER BY target, {", ".join(table.identity[:2])}, {table.time}
    """).to_arrow_reader(_ROWS_AT_A_TIME)
    staged: dict[Period, str] = {}
    count = 0
    for target, batches in groupby(_by_target(merged), key=itemgetter(0)):
        with folder.staged() as (name, writer):
            for _, rows in batches:
                writer.write_table(rows.select(table.stored.names).cast(table.stored))
                count += len(rows)
        staged[places[target]] = name
    return staged, count


def _by_target(rows: pa.RecordBatchReader) -> Iterator[tuple[int, pa.Table]]:
    """The rows in pieces of one target each, in their order."""
    for batch in rows:
        target = batch["target"].to_numpy()
        starts = [0, *(np.flatnonzero(np.diff(target)) + 1).tolist(), len(target)]
        for start, end in pairwise(starts):
            if end > start:
                yield int(target[start]), pa.table(batch.slice(start, end - start))


def _require_all(
    connection: duckdb.DuckDBPyConnection,
    folder: TableFolder,
    sources: ds.Dataset,
    published: Sequence[str],
    written: int,
) -> None:
    """Raise CandlecastError unless the published folders hold every identity of the sources, and as
    many rows as were written, each once."""
    identity = ", ".join(folder.table.identity)
    connection.register("published", folder.rows(published))
    query = f"""
        SELECT (SELECT count(*) FROM published),
               (SELECT count(*) FROM (SELECT DISTINCT {identity} FROM published)),
               (SELECT count(*) FROM (SELECT {identity} FROM sources
                                      EXCEPT SELECT {identity} FROM published))
    """
    ((rows, distinct, missing),) = connection.execute(query).fetchall()
    if missing or rows != written or distinct != written:
        raise CandlecastError(
            f"{folder.path}: of {written} merged rows {rows} were read back, {distinct} of them "
            f"different, and {missing} are missing: the folders before stay; check the disk"
        )
