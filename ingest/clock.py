"""The time of day, and waiting: until then, and after a failure."""

import logging
import random
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Final, TypeVar

from conf.errors import BrokerUnavailable
from conf.events import event

log = logging.getLogger(__name__)

FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 30.0
LONGEST_BROKER_WAIT_S: Final = 10.0
MAX_DOUBLINGS: Final = 10  # by then every wait is the longest
JITTER_S: Final = 1.0

T = TypeVar("T")


class Clock:
    """The machine's clock; `stopping` is set where the program is told to stop, and ends a wait."""

    def __init__(self, stopping: threading.Event | None = None) -> None:
        self.stopping = stopping or threading.Event()

    def now_ms(self) -> int:
        """The time, in epoch milliseconds UTC."""
        return time.time_ns() // 1_000_000

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`, or until `stopping` is set."""
        self.stopping.wait(max(0.0, seconds))


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
    for attempt in count(1):
        try:
            return call()
        except BrokerUnavailable as error:
            on_failure(error)
            if clock.stopping.is_set():
                raise
            event(log, "broker_unavailable", level=logging.WARNING, attempt=attempt, reason=error)
            clock.sleep(backoff_s(attempt, LONGEST_BROKER_WAIT_S))
    raise AssertionError("unreachable")
