"""`candlecast housekeeping`: keeps what grows small, beside the stream and its readers.

1. folders of micro-batches are merged (`store/compaction.py`)
2. rows older than `compaction.keep_days` go, of every table
3. models that never served go after `housekeeping.models_days`, with their reports
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import typer

from conf.events import event
from conf.sections import Compaction, local_folder
from conf.settings import Settings, load_settings
from jobs.terminal.logs import configure_logging
from model.decisions import Arena
from model.pruning import prune_models
from store.compaction import LEAST_FOLDERS, compact_table
from store.locks import only_worker
from store.retention import drop_old
from store.schema import STREAM_TABLES, TABLES
from store.table_folder import TableFolder
from store.views import read_sql

log = logging.getLogger(__name__)

# Between two looks at what grows slowly.
SLOWLY_S: Final = 3_600


def housekeeping(
    every: Annotated[int, typer.Option(min=0, help="seconds until it is done again; 0: once")] = 0,
) -> None:
    """Merge the folders of micro-batches, drop what is too old; with --every, beside the stream."""
    configure_logging()
    settings = load_settings()
    tables = [TableFolder(settings.warehouse.dir, table) for table in TABLES.values()]
    slowly_at = time.monotonic()
    with only_worker(settings.warehouse, "housekeeping"):
        while True:
            now, slowly = datetime.now(UTC), time.monotonic() >= slowly_at
            for folder in tables:
                with guarded(goes_on=every > 0):
                    if folder.table.name in STREAM_TABLES:
                        compact(folder, settings.compaction, now, LEAST_FOLDERS if every else 1)
                    if slowly:
                        drop_rows(folder, settings.compaction, now)
            if slowly:
                with guarded(goes_on=every > 0):
                    drop_models(settings, now)
                slowly_at = time.monotonic() + SLOWLY_S
            if not every:
                return
            time.sleep(every)


@contextmanager
def guarded(goes_on: bool) -> Iterator[None]:
    """A step after which others follow: where it `goes_on`, an error is logged, not raised."""
    try:
        yield
    except Exception as error:
        if not goes_on:
            raise
        reason = f"{type(error).__name__}: {error}"
        event(log, "housekeeping_failed", level=logging.ERROR, reason=reason)


def compact(folder: TableFolder, bounds: Compaction, now: datetime, least: int) -> None:
    """Merge the folders of a table that are worth it."""
    closed_before = (now - timedelta(hours=bounds.closed_after_h)).date()
    for merged in compact_table(folder, closed_before, least):
        event(
            log,
            "compacted",
            table=merged.table,
            rows=merged.rows,
            sources=merged.sources,
            folders=merged.folders,
        )


def drop_rows(folder: TableFolder, bounds: Compaction, now: datetime) -> None:
    """Remove what a table holds from before `compaction.keep_days`."""
    if bounds.keep_days and (dropped := drop_old(folder, bounds.keep_days, now)):
        event(log, "dropped", table=folder.table.name, folders=dropped)


def drop_models(settings: Settings, now: datetime) -> None:
    """Remove old models that never served, where the warehouse lies on this machine."""
    folder = local_folder(settings.warehouse.dir)
    if folder is None:
        return
    before = now - timedelta(days=settings.housekeeping.models_days)
    before_ms = int(before.timestamp() * 1000)
    reports_dir = Path(settings.warehouse.reports_dir)
    for version in prune_models(
        Arena.of(settings), reports_dir, before_ms, lambda: predicted_by(folder)
    ):
        event(log, "model_dropped", version=version)


def predicted_by(warehouse_dir: Path) -> set[str]:
    """The versions that stored predictions name."""
    query = "SELECT DISTINCT model_version FROM predictions_raw"
    return set(read_sql(warehouse_dir, query)["model_version"])
