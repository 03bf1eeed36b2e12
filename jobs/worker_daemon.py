"""The process from which Spark forks its Python workers, with what they use imported once.

Spark ends a worker that was idle for a minute, and one that starts by itself spends seconds on
imports: with a bar a minute, each prediction would wait for them. A fork of this process is ready
at once. Set as `spark.python.daemon.module`. It starts before Spark puts the files of `--py-files`
on the path: where the code is sent so, `spark.executorEnv.PYTHONPATH` has to name it as well.
"""

import gc

from pyspark.daemon import manager

# What a micro-batch runs on a worker.
import jobs.messages
import jobs.read_bars
import jobs.read_news
import jobs.tables
import jobs.window_operator  # noqa: F401
import model.serve  # noqa: F401

if __name__ == "__main__":
    gc.freeze()  # what is shared with the forks shall not be touched by their collectors
    manager()
