"""Whether a Spark cluster still works for the stream."""

from collections.abc import Callable

from pyspark.sql import SparkSession

from conf.errors import RetryLater


def count_executors(spark: SparkSession) -> int | None:
    """How many executors there are; None where the driver does the work itself."""
    context = spark.sparkContext
    if (context.master or "").startswith("local"):
        return None
    return int(context._jsc.sc().getExecutorMemoryStatus().size()) - 1  # without the driver


class ExecutorWatch:
    """Ends a stream whose cluster gives it no executors: Spark itself would wait for ever.

    `count` tells how many there are, `now` is a monotonic clock in seconds.
    """

    def __init__(
        self, count: Callable[[], int | None], limit_s: float, now: Callable[[], float]
    ) -> None:
        self._count = count
        self._limit_s = limit_s
        self._now = now
        self._seen = now()

    def look(self) -> None:
        """Raises RetryLater where there has been none for `limit_s`."""
        if self._count() != 0:
            self._seen = self._now()
        elif self._now() - self._seen > self._limit_s:
            raise RetryLater(
                f"the cluster has given no executor for {self._limit_s:.0f} s "
                "(stream.no_executors_s): it has no worker with free cores and memory, or its "
                "master forgot this application; the stream starts again"
            )
