"""Turn the folders of many micro-batches into one file a day, while stream and readers run.

```
 before   bars/batch=<query>-41/  batch=<query>-42/  batch=day-2026-11-01-0/   (a late bar came)
 after    bars/batch=day-2026-11-01-1/
```
The day's new folder appears in one rename before the folders that it replaces go: no row is missing
at any moment. In between a row stands twice on disk and once in the views, which keep one row an
identity. A run that dies is made good by the next: folders that were left over are merged again.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import typer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from conf.events import event
from conf.settings import load_settings
from jobs.terminal.logs import configure_logging
from jobs.terminal.program import run_program
from spark.session import build_session
from store.folders import Folders
from store.schema import STREAM_TABLES, Table

log = logging.getLogger(__name__)

DAY_PREFIX: Final = "day-"


@dataclass(frozen=True, slots=True)
class CompactedDay:
    """One day of one table, now in one file."""

    table: str
    day: date
    rows: int
    folders: int


def compact(
    spark: SparkSession, warehouse_dir: str, closed_before: date, keep_from: date | None = None
) -> list[CompactedDay]:
    """Compact every table's days before `closed_before`; drop those before `keep_from` (UTC days).

    Folders that hold a row of a day still open are left alone, whole.
    """
    done = []
    for table in STREAM_TABLES.values():
        folders = Folders(spark, f"{warehouse_dir}/{table.name}")
        done += compact_table(spark, table, folders, closed_before, keep_from)
    return done


def compact_table(
    spark: SparkSession,
    table: Table,
    folders: Folders,
    closed_before: date,
    keep_from: date | None,
) -> list[CompactedDay]:
    """The steps for one table.

    1. find folders whose every day is closed, and the days in them
    2. write each day that is not one file already into a folder that readers do not see
    3. publish the new folders, then remove the old ones
    4. remove days that are too old to keep
    """
    names = folders.names()
    if not names:
        return []
    day = F.to_date(table.time)
    rows = spark.read.parquet(folders.path).withColumn("day", day)
    folder_days = rows.groupBy("batch").agg(F.collect_set("day").alias("days")).collect()
    found = {row["batch"]: row for row in folder_days if max(row["days"]) < closed_before}
    loose = {name for name in found if not name.startswith(DAY_PREFIX)}
    days = {d for name in loose for d in found[name]["days"]} | _days_twice(found)
    sources = loose | {name for name in found if set(found[name]["days"]) <= days}
    written = {d: _write_day(rows, table, folders, d, sources) for d in sorted(days)}
    for d, (name, _) in written.items():
        folders.publish(f"_compacting-{d}", name)
    folders.remove(sources)
    if keep_from is not None:
        folders.remove(n for n in folders.names() if (d := day_of(n)) and d < keep_from)
    counts = {d: sum(d in found[name]["days"] for name in sources) for d in written}
    return [CompactedDay(table.name, d, n, counts[d]) for d, (_, n) in written.items()]


def _write_day(
    rows: DataFrame, table: Table, folders: Folders, day: date, sources: set[str]
) -> tuple[str, int]:
    """Write one day's rows, each identity once; return the folder's future name and the count."""
    staged = f"_compacting-{day}"
    folders.discard(staged)
    merged = (
        rows.where((F.col("day") == F.lit(day)) & F.col("batch").isin(*sources))
        .withColumn("_place", F.expr(table.place))
        .where("_place = 1")
        .drop("_place", "day", "batch")
    )
    ordered = merged.coalesce(1).sortWithinPartitions(*table.identity[:2], table.time)
    ordered.write.option("compression", "zstd").parquet(f"{folders.path}/{staged}")
    generations = [int(name.rsplit("-", 1)[1]) for name in folders.names() if day_of(name) == day]
    count = rows.sparkSession.read.parquet(f"{folders.path}/{staged}").count()
    return f"{DAY_PREFIX}{day}-{max(generations, default=-1) + 1}", count


def _days_twice(found: dict[str, Any]) -> set[date]:
    """Days with more than one compacted folder: a run died between publishing and removing."""
    days = [day_of(name) for name in found]
    return {d for d in days if d is not None and days.count(d) > 1}


def day_of(name: str) -> date | None:
    """The day of a compacted folder, None for that of a micro-batch.

    >>> day_of("day-2026-11-01-0")
    datetime.date(2026, 11, 1)
    >>> day_of("8f0b-42") is None
    True
    """
    if not name.startswith(DAY_PREFIX):
        return None
    return date.fromisoformat(name.removeprefix(DAY_PREFIX).rsplit("-", 1)[0])


def main() -> None:
    """Turn each closed day of the warehouse into one file; meant for a daily timer."""
    configure_logging()
    settings = load_settings()
    now = datetime.now(UTC)
    keep_days = settings.compaction.keep_days
    closed_before = (now - timedelta(hours=settings.compaction.closed_after_h)).date()
    keep_from = now.date() - timedelta(days=keep_days) if keep_days else None
    spark = build_session(settings, whole_stages=True)
    for done in compact(spark, settings.warehouse.dir, closed_before, keep_from):
        event(
            log, "compacted", table=done.table, day=done.day, rows=done.rows, folders=done.folders
        )
    spark.stop()


if __name__ == "__main__":
    run_program(lambda: typer.run(main))
