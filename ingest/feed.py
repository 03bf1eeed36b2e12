"""One series that is polled: what to ask for next, and what of an answer to publish."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, Protocol

from conf.timeframes import TIMEFRAME_MS
from ingest.bar import Bar
from ingest.coverage import ABSENT, PUBLISHED, UNKNOWN, Coverage
from ingest.publish import Record, bar_record
from ingest.rejected import rejection_record
from ingest.sources import Source

log = logging.getLogger(__name__)

# Bars that a source did not have are asked for again after this long, then after twice as long
# and so on: a late bar is caught, and a coin that did not exist yet costs a call a day.
RECHECK_S: Final = 3_600.0
MAX_RECHECK_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Request:
    """One call of a source, to be made on a worker's thread; ends are `open_time`, included."""

    first_ms: int
    last_ms: int
    call: Callable[[], Any] = field(compare=False, repr=False)


@dataclass(slots=True)
class Digest:
    """What one answer means: `records` to publish, and what to note once they are acknowledged.

    `answered` is how many bars need not be asked for any more, known once it is settled.
    """

    request: Request
    records: list[Record] = field(default_factory=list)
    published: list[Any] = field(default_factory=list)
    revised: int = 0
    answered: int = 0
    rejected: list[str] = field(default_factory=list)


class Feed(Protocol):
    """What the poller drives; every method is called on the poller's thread."""

    @property
    def name(self) -> str:
        """For the log; no two feeds of a poller share one."""
        ...

    @property
    def kind(self) -> str:
        """What its records are called: `bars` or `articles`."""
        ...

    def next_poll_ms(self, now_ms: int) -> int:
        """When to poll next, after `now_ms`."""
        ...

    def begin(self, now_ms: int) -> None:
        """Called once at the start of each poll."""
        ...

    def next_request(self, now_ms: int) -> Request | None:
        """The next call that this poll needs; None where the poll is complete."""
        ...

    def digest(self, request: Request, answer: Any, now_ms: int) -> Digest:
        """Sort an answer into what to publish and what to refuse; the cursor stays."""
        ...

    def settle(self, digest: Digest) -> None:
        """Called when every record of `digest` is acknowledged: only now the cursor moves."""
        ...

    def end(self, now_ms: int) -> None:
        """Called once at the end of each poll."""
        ...

    def give_up(self, request: Request) -> bool:
        """Called when `request` failed for good in this poll; True where another one may do."""
        ...

    def newest_close_ms(self) -> int | None:
        """The close of the newest bar published, or None; the poller's `seconds behind`."""
        ...

    def gaps(self) -> int:
        """How many records are known to be missing."""
        ...

    def missing(self, now_ms: int) -> int:
        """How many records are still to be asked for, for the progress bar."""
        ...


@dataclass(frozen=True, slots=True)
class Series:
    """Which bars are polled, how often, and how long after their close; durations in ms."""

    symbol: str
    interval: str
    period_ms: int
    grace_ms: int

    @property
    def bar_ms(self) -> int:
        """Length of a bar in milliseconds."""
        return TIMEFRAME_MS[self.interval]

    def last_closed(self, now_ms: int) -> int:
        """`open_time` of the newest bar that is final at `now_ms`.

        >>> Series("BTC-USD", "1m", 60_000, 45_000).last_closed(now_ms=164_999)
        0
        >>> Series("BTC-USD", "1m", 60_000, 45_000).last_closed(now_ms=165_000)
        60000
        """
        return (now_ms - self.grace_ms) // self.bar_ms * self.bar_ms - self.bar_ms


class BarFeed:
    """One symbol's bars at one interval, from `since_ms` (epoch ms) on, oldest first.

    Every poll also asks again for the last `overlap_bars` bars: one that came late is published,
    one that the source has revised since is published again.
    """

    kind = "bars"

    def __init__(
        self,
        series: Series,
        source: Source,
        *,
        since_ms: int,
        bars_topic: str,
        rejected_topic: str,
        overlap_bars: int = 5,
    ) -> None:
        self.series = series
        self.name = f"{series.symbol} {series.interval}"
        self._source = source
        self._bars_topic = bars_topic
        self._rejected_topic = rejected_topic
        self._overlap_ms = overlap_bars * series.bar_ms
        self.coverage = Coverage(since_ms, series.bar_ms)
        self._recent: dict[int, Bar] = {}
        self._rejected: set[int] = set()
        self._recheck_s = RECHECK_S
        self._recheck_at_ms: int | None = None
        self._absent = 0
        self._skip_to_ms: int | None = None

    def next_poll_ms(self, now_ms: int) -> int:
        """The next multiple of the period, plus the grace: a slot of the clock, never a drift."""
        period, grace = self.series.period_ms, self.series.grace_ms
        return ((now_ms - grace) // period + 1) * period + grace

    def saw(self, bar: Bar) -> None:
        """Note a bar that is on the topic already; called between `begin` and the first request."""
        self.coverage.mark(bar.open_time, PUBLISHED)
        self._remember(bar)

    def begin(self, now_ms: int) -> None:
        """Reach up to the newest closed bar, and drop what the source keeps no longer."""
        self._skip_to_ms = None
        keeps_ms = self._source.keeps_ms(self.series.interval)
        if keeps_ms is not None:
            # One bar of room: the oldest may fall out between asking and answering.
            self.coverage.forget_before(now_ms - keeps_ms + self.series.bar_ms)
        self.coverage.extend(self.series.last_closed(now_ms))
        self._forget_old()
        if self._recheck_at_ms is not None and now_ms >= self._recheck_at_ms:
            self.coverage.ask_again()
            self._recheck_at_ms = None

    def next_request(self, now_ms: int) -> Request | None:
        """The oldest bars that are missing, a page of them, with the overlap where it fits."""
        unknown = self.coverage.runs(UNKNOWN, self._skip_to_ms)
        oldest = next(unknown, None)
        if oldest is None:
            return None
        step = self.series.bar_ms
        length = self._source.page_bars(self.series.interval) * step
        newest = self.coverage.last_ms
        overlap_first = max(newest - self._overlap_ms, newest - length + step)
        first = min(oldest[0], max(overlap_first, self.coverage.first_ms))
        last = page_end = first + length - step
        for run_first, run_last in chain([oldest], unknown):
            if run_first > page_end:
                break
            last = min(run_last, page_end)
        return self._request(first, last)

    def digest(self, request: Request, answer: list[Bar], now_ms: int) -> Digest:
        """New bars and revised ones are published, those that break a rule are rejected once."""
        digest = Digest(request)
        for bar in answer:
            if not request.first_ms <= bar.open_time <= request.last_ms:
                continue
            reason = bar.violation(now_ms)
            if reason is not None:
                self._reject(bar, reason, digest, now_ms)
            elif self.coverage.state(bar.open_time) in (UNKNOWN, ABSENT):
                digest.published.append(bar)
            elif self._revises(bar):
                digest.revised += 1
                digest.published.append(bar)
        digest.records += [bar_record(self._bars_topic, bar) for bar in digest.published]
        return digest

    def settle(self, digest: Digest) -> None:
        """Mark what was published; what was asked for and did not come is absent."""
        before = self.coverage.count(UNKNOWN)
        for bar in digest.published:
            self.coverage.mark(bar.open_time, PUBLISHED)
            self._remember(bar)
        self.coverage.mark_unanswered(digest.request.first_ms, digest.request.last_ms)
        digest.answered = before - self.coverage.count(UNKNOWN)

    def end(self, now_ms: int) -> None:
        """Plan when absent bars are asked for again: soon for new ones, ever later for old ones."""
        absent = self.coverage.count(ABSENT)
        if absent > self._absent:
            self._recheck_s = RECHECK_S
            soon_ms = now_ms + int(RECHECK_S * 1000)
            self._recheck_at_ms = min(soon_ms, self._recheck_at_ms or soon_ms)
        elif absent and self._recheck_at_ms is None:
            self._recheck_s = min(MAX_RECHECK_S, 2 * self._recheck_s)
            self._recheck_at_ms = now_ms + int(self._recheck_s * 1000)
        self._absent = absent

    def give_up(self, request: Request) -> bool:
        """Leave that page to the next poll; the newest bars are still worth a try now."""
        if request.last_ms >= self.coverage.last_ms:
            return False
        page = self._source.page_bars(self.series.interval) * self.series.bar_ms
        self._skip_to_ms = max(request.last_ms, self.coverage.last_ms - page)
        self._skip_to_ms += self.series.bar_ms
        return True

    def newest_close_ms(self) -> int | None:
        """The close of the newest bar published."""
        newest = self.coverage.newest_published()
        return None if newest is None else newest + self.series.bar_ms

    def gaps(self) -> int:
        """Bars after the first published one that are not published."""
        return self.coverage.gaps()

    def missing(self, now_ms: int) -> int:
        """Bars up to the newest closed one that the source was not asked for yet."""
        self.begin(now_ms)
        return self.coverage.count(UNKNOWN)

    def _request(self, first_ms: int, last_ms: int) -> Request:
        symbol, timeframe = self.series.symbol, self.series.interval
        return Request(
            first_ms, last_ms, lambda: self._source.fetch(symbol, timeframe, first_ms, last_ms)
        )

    def _reject(self, bar: Bar, reason: str, digest: Digest, now_ms: int) -> None:
        if bar.open_time in self._rejected:
            return
        self._rejected.add(bar.open_time)
        digest.rejected.append(reason)
        digest.records.append(rejection_record(self._rejected_topic, bar, reason, now_ms))
        log.warning(
            "event=bar_rejected symbol=%s interval=%s open_time=%d reason=%r",
            *(bar.symbol, bar.interval, bar.open_time, reason),
        )

    def _revises(self, bar: Bar) -> bool:
        known = self._recent.get(bar.open_time)
        return known is not None and _values(known) != _values(bar)

    def _remember(self, bar: Bar) -> None:
        if bar.open_time >= self.coverage.last_ms - self._overlap_ms:
            self._recent[bar.open_time] = bar

    def _forget_old(self) -> None:
        oldest = self.coverage.last_ms - self._overlap_ms
        self._recent = {time: bar for time, bar in self._recent.items() if time >= oldest}


def _values(bar: Bar) -> tuple[float | None, ...]:
    return (bar.open, bar.high, bar.low, bar.close, bar.base_volume, bar.quote_volume)
