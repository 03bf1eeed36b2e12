"""Python workers are kept from being idle, and only while nothing else keeps them busy."""

import threading

import pytest
from pyspark.sql import SparkSession

from spark.warm_workers import WarmWorkers, idle_task

TIMEOUT_S = 60


def test_the_task_runs_whenever_the_stream_is_quiet() -> None:
    twice = threading.Barrier(2)
    workers = WarmWorkers(lambda: twice.wait(TIMEOUT_S), quiet_s=0.001)
    twice.wait(TIMEOUT_S)
    twice.wait(TIMEOUT_S)
    workers.onQueryTerminated(None)
    twice.abort()


def test_it_runs_at_the_start_and_no_more_while_the_stream_works_or_has_ended() -> None:
    runs: list[None] = []
    ran = threading.Event()

    def task() -> None:
        runs.append(None)
        ran.set()

    workers = WarmWorkers(task, quiet_s=TIMEOUT_S)
    assert ran.wait(TIMEOUT_S)
    workers.onQueryProgress(None)
    workers.onQueryTerminated(None)
    workers.thread.join(TIMEOUT_S)
    assert not workers.thread.is_alive()
    assert runs == [None]


def test_a_task_that_fails_is_noted_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    tries: list[None] = []
    tried_again = threading.Event()

    def fail() -> None:
        tries.append(None)
        if len(tries) > 1:
            tried_again.set()
        raise ConnectionError

    with caplog.at_level("INFO"):
        workers = WarmWorkers(fail, quiet_s=0.001)
        assert tried_again.wait(TIMEOUT_S)
        workers.onQueryTerminated(None)
        workers.thread.join(TIMEOUT_S)
    assert "warm_workers=failed reason=ConnectionError" in caplog.text


def test_the_task_goes_to_as_many_workers_as_there_are_shards(spark: SparkSession) -> None:
    assert [row["id"] for row in idle_task(spark, 2)()] == [0, 1]
