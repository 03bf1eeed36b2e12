"""The process from which Spark forks its Python workers, with what they use imported once.

Spark ends a worker that was idle for a minute, and one that starts by itself spends seconds on
imports: with a bar a minute, each prediction would wait for them. A fork of this process is ready
at once. Set as `spark.python.daemon.module`. It starts before Spark puts the files of `--py-files`
on the path: where the code is sent so, `spark.executorEnv.PYTHONPATH` has to name it as well.

A worker ends when its connection does, and this process when its input does. Both look once a
second whether their parent still lives as well, so that a `kill -9` in any place leaves nothing.
"""

import gc
import os
import signal
import threading
import time
from importlib import import_module
from typing import Final

# What Spark's worker imports once it is forked, the first two with its first call of the state.
import pyspark.sql.streaming.proto.StateMessage_pb2
import pyspark.testing.utils
import pyspark.worker  # noqa: F401
from pyspark.daemon import manager

# What a micro-batch runs on a worker.
PRELOADED: Final = (
    "stream.forecast_udf",
    "stream.operator_rows",
    "stream.read_bars",
    "stream.read_news",
    "stream.to_kafka",
    "stream.to_parquet",
)
LOOK_EVERY_S: Final = 1.0


def end_with_parent() -> None:
    """End this process within about a second of its parent, and each fork of it likewise.

    By a timer here, since a thread does not get along with forks; by a thread in a fork, since a
    timer would interrupt what works there.
    """
    parent = os.getppid()

    def look(*_: object) -> None:
        if os.getppid() != parent:
            os._exit(1)

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, LOOK_EVERY_S, LOOK_EVERY_S)
    forked_by = os.getpid()
    os.register_at_fork(after_in_child=lambda: _watch(forked_by))


def _watch(parent: int) -> None:
    def wait() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY_S)
        os._exit(1)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()


if __name__ == "__main__":
    for name in PRELOADED:
        import_module(name)
    gc.freeze()  # what is shared with the forks shall not be touched by their collectors
    end_with_parent()
    manager()
