"""Recorded bars again, in the order of their closes, as fast as asked."""

import heapq
import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby, islice
from operator import attrgetter
from typing import Final

from conf.errors import BrokerUnavailable
from conf.events import event
from ingest.bar import Bar
from ingest.clock import Clock, until_broker_answers
from ingest.publish import BarPublisher, Record, bar_record, rejection_record

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
    start_ms: float | None = None
    for closed, group in groupby(bars, key=close_time):
        if start_ms is None:
            start_ms = clock.now_ms() - closed / speed
        clock.sleep(max(0.0, start_ms + closed / speed - clock.now_ms()) / 1000)
        yield list(group)


def between(bars: Iterable[Bar], first_ms: int | None, until_ms: int | None) -> Iterator[Bar]:
    """Keep the bars with `first_ms <= open_time < until_ms`; None leaves that end open."""
    return (
        bar
        for bar in bars
        if (first_ms is None or bar.open_time >= first_ms)
        and (until_ms is None or bar.open_time < until_ms)
    )


class Rejections:
    """Gathers bars that a file holds and no topic should, as records for `bars.rejected`."""

    def __init__(self, topic: str, clock: Clock) -> None:
        self._topic = topic
        self._clock = clock
        self._waiting: list[Record] = []
        self.count = 0

    def __call__(self, bar: Bar, reason: str) -> None:
        """Note that `bar` breaks the rule `reason`."""
        self.count += 1
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
    rejections: Rejections,
    clock: Clock,
    report: Callable[[int], None] = lambda bars: None,
) -> int:
    """Publish group after group, each until Kafka has it; return how many bars.

    Ends early, without an error, once the clock is stopping.
    """
    published = 0
    for group in groups:
        if clock.stopping.is_set():
            break
        records = [bar_record(publisher.topic, bar) for bar in group] + rejections.take()
        try:
            until_broker_answers(partial(publisher.send, records), clock)
        except BrokerUnavailable as error:
            event(log, "stopped_unsent", level=logging.ERROR, records=len(records), reason=error)
            return published
        published += len(group)
        report(len(group))
    publisher.send(rejections.take())
    return published
