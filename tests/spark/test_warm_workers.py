"""Python workers are kept from being idle."""

import threading

import pytest
from pyspark.sql import SparkSession

from spark.warm_workers import idle_task, keep_warm

TIMEOUT_S = 60


def test_the_task_runs_again_and_again() -> None:
    thrice = threading.Semaphore(0)
    ending = threading.Event()
    keep_warm(thrice.release, ending, every_s=0.001)
    assert all(thrice.acquire(timeout=TIMEOUT_S) for _ in range(3))
    ending.set()


def test_it_runs_at_the_start_and_no_more_once_the_stream_ends() -> None:
    runs: list[None] = []
    ran, ending = threading.Event(), threading.Event()

    def task() -> None:
        runs.append(None)
        ran.set()

    thread = keep_warm(task, ending, every_s=TIMEOUT_S)
    assert ran.wait(TIMEOUT_S)
    ending.set()
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()
    assert runs == [None]


def test_a_task_that_fails_is_noted_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    tried, ending = threading.Semaphore(0), threading.Event()

    def fail() -> None:
        tried.release()
        raise ConnectionError

    with caplog.at_level("INFO"):
        thread = keep_warm(fail, ending, every_s=0.001)
        assert all(tried.acquire(timeout=TIMEOUT_S) for _ in range(2))
        ending.set()
        thread.join(TIMEOUT_S)
    assert "event=warm_workers_failed reason=ConnectionError" in caplog.text


def test_the_task_goes_to_as_many_workers_as_there_are_shards(spark: SparkSession) -> None:
    assert [row["id"] for row in idle_task(spark, 2)()] == [0, 1]
