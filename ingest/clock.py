"""The time of day and its steps, and waiting: until then, and after a failure."""

import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from queue import Empty, SimpleQueue
from typing import Final, Literal, TypeVar

from conf.errors import BrokerUnavailable, RetryLater
from conf.events import event

log = logging.getLogger(__name__)

FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 30.0
LONGEST_BROKER_WAIT_S: Final = 10.0
MAX_DOUBLINGS: Final = 10  # by then every wait is the longest
JITTER_S: Final = 1.0
# So late a wait for a queue sees that the program is to stop.
LOOK_AT_STOP_S: Final = 0.1
# Below every grace; what a clock that is kept by slewing never does between two looks.
STEP_MS: Final = 1_000
# A step that stays for so long is the time; one that is gone by then was none.
SETTLE_MS: Final = 60_000

# Linux's monotonic clock stands still while a machine sleeps; this one does not.
_RUNNING: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

T = TypeVar("T")


class Clock:
    """The machine's clock; `stopping` is set where the program is told to stop, and ends a wait."""

    def __init__(self, stopping: threading.Event | None = None) -> None:
        self.stopping = stopping or threading.Event()

    def now_ms(self) -> int:
        """The time, in epoch milliseconds UTC."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        """Milliseconds since some start, which nobody can set; they pass while a machine sleeps."""
        return time.clock_gettime_ns(_RUNNING) // 1_000_000

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`, or until `stopping` is set."""
        self.stopping.wait(max(0.0, seconds))

    def wait(self, queue: "SimpleQueue[T]", seconds: float) -> T | None:
        """The next of `queue`; None where none comes for `seconds`, or `stopping` is set."""
        until_ms = self.monotonic_ms() + seconds * 1000
        while not self.stopping.is_set():
            left_s = max(0.0, (until_ms - self.monotonic_ms()) / 1000)
            with suppress(Empty):
                return queue.get(timeout=min(LOOK_AT_STOP_S, left_s))
            if not left_s:
                break
        return None


class StepWatch:
    """Tells a wall clock that was set from one that runs, by the monotonic clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_ms = self._offset()
        self._stepped: tuple[int, int] | None = None

    def look(self) -> Literal["steady", "stepped", "settled"]:
        """What the wall clock did since the last look.

        After a step it is `stepped`, not to be gone by, until it is back where it was, or has
        stayed for SETTLE_MS: then it is `settled` once.
        """
        offset_ms, now_ms = self._offset(), self._clock.monotonic_ms()
        if abs(offset_ms - self._offset_ms) <= STEP_MS:
            self._offset_ms, self._stepped = offset_ms, None
            return "steady"
        if self._stepped is None or abs(offset_ms - self._stepped[0]) > STEP_MS:
            self._stepped = (offset_ms, now_ms)
            by_s = (offset_ms - self._offset_ms) / 1000
            event(log, "clock_step", level=logging.WARNING, by_s=by_s, wait_s=SETTLE_MS / 1000)
            return "stepped"
        if now_ms - self._stepped[1] < SETTLE_MS:
            return "stepped"
        self._offset_ms, self._stepped = offset_ms, None
        return "settled"

    def _offset(self) -> int:
        """Wall clock less monotonic clock, ms; a busy machine may stop us between the two."""
        while True:
            before_ms = self._clock.monotonic_ms()
            wall_ms = self._clock.now_ms()
            if self._clock.monotonic_ms() - before_ms < STEP_MS // 2:
                return wall_ms - before_ms


def backoff_s(attempt: int, longest_s: float = LONGEST_WAIT_S) -> float:
    """Seconds to wait after the `attempt`-th failure in a row: twice as long each time, and jitter.

    >>> 4 <= backoff_s(3) <= 5
    True
    >>> 30 <= backoff_s(10_000) <= 31
    True
    """
    doubled_s = FIRST_WAIT_S * 2.0 ** min(attempt - 1, MAX_DOUBLINGS)
    return min(longest_s, doubled_s) + random.uniform(0, JITTER_S)


def until_broker_answers(
    call: Callable[[], T],
    clock: Clock,
    on_failure: Callable[[BaseException], None] = lambda error: None,
) -> T:
    """Make `call` until Kafka is there, and return what it returns.

    `on_failure` receives each failure. Raises the last one once the clock is stopping.
    """
    return until_answered(call, clock, BrokerUnavailable, "broker_unavailable", on_failure)


def until_answered(
    call: Callable[[], T],
    clock: Clock,
    passing: type[RetryLater],
    name: str,
    on_failure: Callable[[BaseException], None] = lambda error: None,
    attempts: int | None = None,
) -> T:
    """Make `call` until it raises no `passing` error; each is an event `name`.

    Raises the last one after `attempts`, or once the clock is stopping.
    """
    for attempt in count(1):
        try:
            return call()
        except passing as error:
            on_failure(error)
            if clock.stopping.is_set() or attempt == attempts:
                raise
            event(log, name, level=logging.WARNING, attempt=attempt, reason=error)
            clock.sleep(max(backoff_s(attempt, LONGEST_BROKER_WAIT_S), error.retry_after_s or 0.0))
    raise AssertionError("unreachable")
