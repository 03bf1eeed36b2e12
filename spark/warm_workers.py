"""Python workers that are there before the first micro-batch, and live on between minutes.

Spark ends its Python workers when none has worked for a minute, a time that no setting changes.
Those that come after them have no session of the model and no window state in memory: with a bar
a minute, each prediction would wait for both.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Final

import pyarrow as pa
from pyspark.sql import Row, SparkSession

from conf.events import event
from spark.arrow import map_in_arrow

log = logging.getLogger(__name__)

# Spark looks every ten seconds for workers that were idle for sixty.
EVERY_S: Final = 20.0


def idle_task(session: SparkSession, tasks: int) -> Callable[[], list[Row]]:
    """Something to do for the workers that the stream's micro-batches use: a row for each task."""

    def same(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return batches

    numbers = session.range(tasks, numPartitions=tasks)
    return map_in_arrow(numbers, same, pa.schema([("id", pa.int64())])).collect


def keep_warm(
    task: Callable[[], object], ending: threading.Event, every_s: float = EVERY_S
) -> threading.Thread:
    """Run `task` from a thread of its own, at once and every `every_s`, until `ending` is set."""

    def run() -> None:
        while not ending.is_set():
            try:
                task()
            except Exception as error:
                # The stream does without: at worst its next micro-batch waits for new workers.
                event(log, "warm_workers_failed", reason=type(error).__name__)
            ending.wait(every_s)

    thread = threading.Thread(target=run, name="warm-workers", daemon=True)
    thread.start()
    return thread
