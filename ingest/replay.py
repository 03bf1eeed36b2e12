"""Recorded bars again, in the order of their closes, as fast as asked."""

import heapq
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, islice
from operator import attrgetter
from typing import Final

from conf.errors import BrokerUnavailable
from ingest.bar import Bar
from ingest.clock import Clock
from ingest.publish import BarPublisher, Record, bar_record
from ingest.rejected import rejection_record
from ingest.retry import until_broker_answers

log = logging.getLogger(__name__)

# Bars that are sent again together where the broker fails; the pause between two such groups is
# a few milliseconds, so they must be many.
GROUP_BARS: Final = 20_000
close_time: Final = attrgetter("close_time")


def in_close_order(series: Iterable[Iterable[Bar]]) -> Iterator[Bar]:
    """Merge series, each ascending, by the time their bars close; ties keep the series' order.

    >>> def bar(symbol, minute):
    ...     return Bar(symbol, "1m", minute * 60_000, 1.0, 1.0, 1.0, 1.0, 0.0, None, "example", 0)
    >>> merged = in_close_order([[bar("A-X", 0), bar("A-X", 1)], [bar("B-X", 0)]])
    >>> [bar.symbol for bar in merged]
    ['A-X', 'B-X', 'A-X']
    """
    several = list(series)
    return iter(several[0]) if len(several) == 1 else heapq.merge(*several, key=close_time)


def paced(bars: Iterable[Bar], speed: float, clock: Clock) -> Iterator[list[Bar]]:
    """Yield the bars that close together as one group, `speed` times as fast as they happened.

    The first group comes at once. A consumer that is late is not waited for again: groups follow
    each other directly until the pace is met, so the replay does not drift.
    """
    started_ms: int | None = None
    first_close = 0
    for closed, group in groupby(bars, key=close_time):
        if started_ms is None:
            started_ms, first_close = clock.now_ms(), closed
        due_ms = started_ms + (closed - first_close) / speed
        wait_s = (due_ms - clock.now_ms()) / 1000
        if wait_s > 0:
            clock.sleep(wait_s)
        yield list(group)


def between(bars: Iterable[Bar], first_ms: int | None, until_ms: int | None) -> Iterator[Bar]:
    """Keep the bars with `first_ms <= open_time < until_ms`; None leaves that end open."""
    return (
        bar
        for bar in bars
        if (first_ms is None or bar.open_time >= first_ms)
        and (until_ms is None or bar.open_time < until_ms)
    )


class Refusals:
    """Gathers bars that a file holds and no topic should, as records for `bars.rejected`."""

    def __init__(self, topic: str, clock: Clock) -> None:
        self._topic = topic
        self._clock = clock
        self._waiting: list[Record] = []
        self.reasons: Counter[str] = Counter()

    def __call__(self, bar: Bar, reason: str) -> None:
        """Note that `bar` breaks the rule `reason`."""
        self.reasons[reason] += 1
        self._waiting.append(rejection_record(self._topic, bar, reason, self._clock.now_ms()))

    def take(self) -> list[Record]:
        """The records since the last call."""
        taken, self._waiting = self._waiting, []
        return taken


def replay_groups(bars: Iterable[Bar], speed: float | None, clock: Clock) -> Iterator[list[Bar]]:
    """Groups to be published one after the other: `speed` times real time, or None for the most."""
    if speed is not None:
        return paced(bars, speed, clock)
    iterator = iter(bars)
    return iter(lambda: list(islice(iterator, GROUP_BARS)), [])


def publish_replay(
    groups: Iterable[list[Bar]],
    publisher: BarPublisher,
    *,
    refusals: Refusals,
    clock: Clock,
    stopping: threading.Event,
    report: Callable[[int], None] = lambda bars: None,
) -> int:
    """Publish group after group, each until Kafka has it; return how many bars.

    Ends early, without an error, once `stopping` is set.
    """
    published = 0
    for group in groups:
        if stopping.is_set():
            break
        records = [bar_record(publisher.topic, bar) for bar in group] + refusals.take()
        try:
            until_broker_answers(clock, stopping)(publisher.send, records)
        except BrokerUnavailable as error:
            log.error("event=stopped_unsent records=%d reason=%r", len(records), str(error))
            return published
        published += len(group)
        report(len(group))
    publisher.send(refusals.take())
    return published
