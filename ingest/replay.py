"""Recorded bars again, in the order of their closes, as fast as asked."""

import heapq
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, groupby, islice
from operator import attrgetter
from typing import Final

from ingest.bar import Bar
from ingest.clock import Clock, until_broker_answers
from ingest.publish import BarPublisher, Record, bar_record

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
    return heapq.merge(*series, key=close_time)


def paced(bars: Iterable[Bar], speed: float | None, clock: Clock) -> Iterator[list[Bar]]:
    """Yield the bars that close together as one group, `speed` times as fast as they happened.

    The first group comes at once. A consumer that is late is not waited for again: groups follow
    each other directly until the pace is met, so the replay does not drift. Without a speed there
    is no wait, and a group is GROUP_BARS.
    """
    if speed is None:
        iterator = iter(bars)
        yield from iter(lambda: list(islice(iterator, GROUP_BARS)), [])
        return
    start_ms: float | None = None
    for closed, group in groupby(bars, key=close_time):
        if start_ms is None:
            start_ms = clock.monotonic_ms() - closed / speed
        clock.sleep(max(0.0, start_ms + closed / speed - clock.monotonic_ms()) / 1000)
        yield list(group)


def between(bars: Iterable[Bar], first_ms: int | None, until_ms: int | None) -> Iterator[Bar]:
    """Keep the bars with `first_ms <= open_time < until_ms`; None leaves that end open."""
    return (
        bar
        for bar in bars
        if (first_ms is None or bar.open_time >= first_ms)
        and (until_ms is None or bar.open_time < until_ms)
    )


def publish_replay(
    groups: Iterable[list[Bar]],
    publisher: BarPublisher,
    rejected: list[Record],
    clock: Clock,
    report: Callable[[int], None] = lambda bars: None,
) -> tuple[int, int]:
    """Publish group after group, each until Kafka has it; return how many bars and rejections.

    `rejected` fills while the groups are read, and is emptied as it goes to Kafka. Ends early once
    the clock is stopping; raises BrokerUnavailable where the broker is away then.
    """
    bars = rejections = 0
    for group in chain(groups, [[]]):  # what is rejected behind the last bar goes too
        records = [bar_record(publisher.topic, bar) for bar in group] + rejected
        if clock.stopping.is_set():
            break
        until_broker_answers(partial(publisher.send, records), clock)
        bars, rejections = bars + len(group), rejections + len(rejected)
        rejected.clear()
        report(len(group))
    return bars, rejections
