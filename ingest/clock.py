"""The one place that asks the machine for the time, so that tests can bring their own."""

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits."""

    def now_ms(self) -> int:
        """The time, in epoch milliseconds UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`, or less where the program is told to stop."""
        ...


class SystemClock:
    """The machine's clock; a wait ends early once `stopping` is set."""

    def __init__(self, stopping: threading.Event | None = None) -> None:
        self._stopping = stopping or threading.Event()

    def now_ms(self) -> int:
        """The time, in epoch milliseconds UTC."""
        return time.time_ns() // 1_000_000

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`, or until `stopping` is set."""
        self._stopping.wait(max(0.0, seconds))


def monotonic_s() -> float:
    """Seconds on a clock that nobody sets, for limits on how long a thing may take."""
    return time.monotonic()
