"""Recorded bars again, in the order of their closes, as fast as asked."""

import heapq
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import Final

from ingest.bar import Bar
from ingest.clock import Clock

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
