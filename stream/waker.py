"""Ends waits for leaders: a wake-up at the end of the topic, once bars have waited long enough.

Spark's timers would run empty micro-batches without end, or fire only when the next bars come. The
clock says here when a wake-up is sent; what it ends, its place in the topic says.
"""

import logging
import threading
from contextlib import closing, suppress
from typing import Final

from py4j.protocol import Py4JError
from pyspark.sql.streaming import StreamingQuery

from conf.events import event
from ingest.clock import Clock
from ingest.publish import Publisher, Record
from ingest.wake import KEY, wake_message
from stream.metrics import WrittenMicroBatch

log = logging.getLogger(__name__)

# How often it is asked whether the query has ended, and how soon a failed wake-up is sent again.
LOOK_MS: Final = 1_000


class Waker:
    """Hears of what waits from each micro-batch, and sends wake-ups to every partition of `topic`.

    The first, for no wait, is sent at once: what waited when the program ended makes itself heard.
    """

    def __init__(
        self, publisher: Publisher, topic: str, wait_s: float, clock: Clock | None = None
    ) -> None:
        self._publisher = publisher
        self._topic = topic
        self._wait_ms = round(wait_s * 1000)
        self._clock = clock or Clock()
        self._heard = threading.Condition()
        self._known = 0
        self._failing = False
        self._due: list[tuple[int, int]] = [(self._clock.monotonic_ms(), 0)]

    def written(self, batch: WrittenMicroBatch) -> None:
        """Plan a wake-up for what waits since this micro-batch, if anything does.

        It is due when the last of it has waited by this machine's clock; however wrong that is, no
        later than a whole wait from now.
        """
        if batch.wait_until > self._known:
            left_ms = min(max(batch.wait_until - self._clock.now_ms(), 0), self._wait_ms)
            with self._heard:
                self._known = batch.wait_until
                self._due.append((self._clock.monotonic_ms() + left_ms, batch.wait_until))
                self._heard.notify()

    def follow(self, query: StreamingQuery) -> threading.Thread:
        """Send what is due from a thread of its own, until the query has ended."""

        def run() -> None:
            # Java may have ended: the program says so where it waits for it.
            with closing(self._publisher), suppress(Py4JError):
                while query.isActive:
                    self.send_due()
                    with self._heard:
                        self._heard.wait(self.left_ms() / 1000)

        thread = threading.Thread(target=run, name="waker", daemon=True)
        thread.start()
        return thread

    def left_ms(self) -> int:
        """Until the next wake-up is due, or until it is time to look again."""
        now_ms = self._clock.monotonic_ms()
        return min([LOOK_MS, *(max(at_ms - now_ms, 0) for at_ms, _ in self._due)])

    def send_due(self) -> None:
        """Send the wake-up that is due, if any is: the latest stands for those before it."""
        now_ms = self._clock.monotonic_ms()
        with self._heard:
            due = [until for at_ms, until in self._due if at_ms <= now_ms]
            self._due = [one for one in self._due if one[0] > now_ms]
        if not due:
            return
        try:
            partitions = self._publisher.partitions(self._topic)
            value = wake_message(max(due), partitions)
            self._publisher.send(Record(self._topic, KEY, value, at) for at in range(partitions))
            self._failing = False
        except Exception as error:  # whatever it is: without wake-ups bars wait for ever
            self._publisher.close()
            if not self._failing:
                self._failing = True
                effect = "bars wait on"
                event(log, "wake_up_failed", level=logging.ERROR, reason=error, effect=effect)
            with self._heard:
                self._due.append((now_ms + LOOK_MS, max(due)))
