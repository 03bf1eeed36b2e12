"""The process from which Spark forks its Python workers, with what they use imported once.

Set as `spark.python.daemon.module`. Spark ends a worker that was idle for a minute, and one that
starts by itself spends two to three seconds on imports; a fork of this process is ready at once.
It starts before Spark puts the files of `--py-files` on the path: where the code is sent so,
`spark.executorEnv.PYTHONPATH` has to name it as well.

A worker ends when its connection to Java does, and this process when its input does.
"""

import gc
from contextlib import suppress
from importlib import import_module
from typing import Final

from pyspark.daemon import manager

# What a micro-batch runs on a worker. Spark's worker imports the first three itself after the fork.
PRELOADED: Final = (
    "pyspark.worker",
    "pyspark.sql.streaming.proto.StateMessage_pb2",
    "pyspark.testing.utils",
    "stream.forecast_udf",
    "stream.operator_rows",
    "stream.read_bars",
    "stream.read_news",
    "stream.to_kafka",
    "stream.to_parquet",
)


def preload() -> None:
    """Import what a worker uses."""
    for name in PRELOADED:
        with suppress(ImportError):  # the worker that needs it says so
            import_module(name)


if __name__ == "__main__":
    preload()
    gc.freeze()  # or the collectors of the forks would touch, and so copy, what they share
    manager()
