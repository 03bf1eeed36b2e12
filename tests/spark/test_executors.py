"""A stream does not wait for ever for a cluster that has forgotten it."""

import pytest

from conf.errors import RetryLater
from spark.executors import ExecutorWatch


class Cluster:
    """Executors and time, both set by a test."""

    executors: int | None = 1
    now = 0.0

    def watch(self) -> ExecutorWatch:
        return ExecutorWatch(lambda: self.executors, 60, lambda: self.now)


def test_a_stream_without_executors_ends_after_a_time() -> None:
    cluster = Cluster()
    watch = cluster.watch()
    cluster.executors, cluster.now = 0, 60.0
    watch.look()
    cluster.now = 61.0
    with pytest.raises(RetryLater, match="no executor for 60 s"):
        watch.look()


def test_executors_that_come_back_in_time_count_as_there() -> None:
    cluster = Cluster()
    watch = cluster.watch()
    for executors, now in ((0, 50.0), (1, 55.0), (0, 110.0)):
        cluster.executors, cluster.now = executors, now
        watch.look()


def test_one_machine_without_a_cluster_is_never_alone() -> None:
    cluster = Cluster()
    watch = cluster.watch()
    cluster.executors, cluster.now = None, 1e6
    watch.look()
