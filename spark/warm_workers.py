"""Python workers that are there before the first micro-batch, and live on between minutes.

Spark ends its Python workers when none has worked for a minute, a time that no setting changes.
Those that come after them have no session of the model and no window state in memory: with a bar
a minute, each prediction would wait for both.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import pyarrow as pa
from pyspark.sql import Row, SparkSession

from spark.arrow import map_in_arrow
from spark.listener import ProgressListener

log = logging.getLogger(__name__)

# Spark looks every ten seconds for workers that were idle for sixty.
QUIET_S: Final = 20.0


def idle_task(session: SparkSession, tasks: int) -> Callable[[], list[Row]]:
    """Something to do for the workers that the stream's micro-batches use: a row for each task."""

    def same(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return batches

    numbers = session.range(tasks, numPartitions=tasks)
    return map_in_arrow(numbers, same, pa.schema([("id", pa.int64())])).collect


class WarmWorkers(ProgressListener):
    """Runs `task` from a thread of its own: at once, while the query starts, and after `quiet_s`
    without progress, again and again."""

    def __init__(self, task: Callable[[], object], quiet_s: float = QUIET_S) -> None:
        self._task = task
        self._quiet_s = quiet_s
        self._worked = threading.Event()
        self._ended = False
        self.thread = threading.Thread(target=self._run, name="warm-workers", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self._ended:
            try:
                self._task()
            except Exception as error:
                # The stream does without: at worst its next micro-batch waits for new workers.
                log.info("warm_workers=failed reason=%s", type(error).__name__)
            while self._worked.wait(self._quiet_s) and not self._ended:
                self._worked.clear()

    def onQueryProgress(self, event: Any) -> None:  # noqa: N802 - Spark's name
        """Called by Spark after each micro-batch."""
        self._worked.set()

    def onQueryTerminated(self, event: Any) -> None:  # noqa: N802 - Spark's name
        """Called by Spark when the query has ended."""
        self._ended = True
        self._worked.set()
