"""Recorded bars published at a chosen speed, while the demo shows its table."""

import threading
from types import TracebackType
from typing import Self

from ingest.bar import Bar
from ingest.clock import SystemClock
from ingest.publish import BarPublisher
from ingest.replay import paced


class Replay:
    """Publishes bars in a thread that lives as long as the `with` block."""

    def __init__(self, publisher: BarPublisher, bars: list[Bar], speed: float) -> None:
        self._publisher = publisher
        self._bars = bars
        self._speed = speed
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._publish, name="replay", daemon=True)
        self._error: Exception | None = None

    @property
    def done(self) -> bool:
        """Whether the last bar has been acknowledged."""
        return not self._thread.is_alive()

    def check(self) -> None:
        """Raise what went wrong in the thread."""
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def _publish(self) -> None:
        try:
            with self._publisher as publisher:
                for group in paced(self._bars, self._speed, SystemClock(self._stopping)):
                    if self._stopping.is_set():
                        return
                    publisher.publish(group)
        except Exception as error:
            self._error = error
