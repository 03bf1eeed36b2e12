"""Whoever asks waits for a moment, however long the answer takes."""

import threading
from contextlib import suppress
from itertools import pairwise

import pytest

from conf.errors import RetryLater
from jobs.machine.processes import wait_until
from model.asking import Asking


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_answer_in_time_is_returned_and_asked_for_each_time() -> None:
    left = [1, 2]
    asking = Asking(lambda: left.pop(0), Clock())
    assert [asking.answer(30), asking.answer(30)] == [1, 2]


def test_after_a_failure_it_rests_longer_and_longer_up_to_five_minutes() -> None:
    clock, asked_at = Clock(), list[float]()

    def question() -> int:
        asked_at.append(clock.now)
        raise OSError

    asking = Asking(question, clock)
    for _ in range(100):
        with suppress(OSError):
            assert asking.answer(30) is None
        clock.now += 15
    rests = [after - before for before, after in pairwise(asked_at)]
    assert rests[:7] == [15, 30, 60, 120, 240, 300, 300]


def test_a_late_answer_keeps_nobody_waiting_and_comes_with_a_later_call() -> None:
    asked, given = threading.Event(), threading.Event()

    def question() -> int:
        asked.set()
        given.wait(30)
        return 7

    asking = Asking(question, Clock())
    with pytest.raises(RetryLater, match="within 0 s"):
        asking.answer(0)
    assert asked.wait(30)
    assert asking.answer(30) is None, "waits a second time"
    given.set()
    assert wait_until(lambda: asking.answer(30) == 7, timeout_s=30)
    assert asking.answer(30) is None, "does not rest after a late answer"
