"""Bars as the exchange closes them: a fast way beside the polls, which go on behind it.

A poll fills what a cut left, confirms what was heard, and is all there is while nothing is heard.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from conf.events import event
from ingest.bar import Bar
from ingest.bar_feed import BarFeed
from ingest.clock import Clock, backoff_s
from ingest.coverage import PUBLISHED, UNKNOWN
from ingest.metrics import IngestMetrics
from ingest.publish import Record, bar_record
from ingest.sources import Source, Stream
from ingest.sources.rows import Span, bar_of

log = logging.getLogger(__name__)

# A connection that tells nothing for so long is made anew; after one that told nothing either,
# twice as long, since a market may be without a trade, and so on for so many times.
STALE_MS: Final = 60_000
STALE_DOUBLINGS: Final = 4
REFUSED_S: Final = 3_600.0  # what is not offered is asked for again as seldom as by a poll


class LiveFeed(BarFeed):
    """One series' bars, of which the newest are heard before they are asked for.

    What is heard is published behind all that is older, which a poll asks for where it is missing.
    Each poll asks for the last `overlap_bars` bars again, and so confirms what was heard.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._heard: dict[int, Bar] = {}
        self._unconfirmed = False
        self._final_ms = self.coverage.last_ms

    def hear(self, row: list[Any], heard_ms: int) -> bool:
        """Keep a bar that is closed; False where it breaks a rule, or is published already."""
        series = (self.series.symbol, self.series.interval)
        bar = bar_of(series, row[0], row[1:], (self._source.name, heard_ms))
        if bar.rejection_reason(heard_ms, self._earliest_ms) is not None:
            return False  # a poll asks for it, and rejects it if that is what the source has
        at = bar.open_time
        if at < self.coverage.first_ms or self.coverage.state(at) == PUBLISHED:
            return False
        self._heard[at] = bar
        return True

    @property
    def waits(self) -> bool:
        """Whether a bar that was heard is not published yet."""
        return bool(self._heard)

    def ready(self) -> list[Bar]:
        """The bars that were heard and that nothing older keeps back, oldest first."""
        found: list[Bar] = []
        known_ms, bar_ms = self.coverage.last_ms, self.series.bar_ms
        unknown_ms = self.coverage.oldest(UNKNOWN)
        for at in sorted(self._heard):
            if self.coverage.state(at) == PUBLISHED:
                del self._heard[at]
                continue
            if at > known_ms + bar_ms or (unknown_ms is not None and unknown_ms < at):
                break
            found.append(self._heard[at])
            known_ms = max(known_ms, at)
            unknown_ms = self.coverage.oldest(UNKNOWN, at + bar_ms)
        return found

    def records(self, bars: Iterable[Bar]) -> list[Record]:
        """The messages that carry `bars`."""
        return [bar_record(self._topics.bars_topic, bar) for bar in bars]

    def published(self, bars: Iterable[Bar]) -> None:
        """Note bars of `ready` that are acknowledged."""
        for bar in bars:
            self.coverage.reach(max(self.coverage.last_ms, bar.open_time))
            self.saw(bar)
            self._heard.pop(bar.open_time, None)
            self._unconfirmed = self.live = True

    def missing(self, now_ms: int) -> int:
        """Reach up to the newest closed bar; return how many bars were not asked for yet."""
        self._final_ms = self.series.last_closed(now_ms)
        return super().missing(now_ms)

    def _next_page(self, from_ms: int | None) -> Span | None:
        page = super()._next_page(from_ms)
        if page is None and self._unconfirmed:
            last_ms = min(self._final_ms, self.coverage.last_ms)
            reach_ms = min(self._overlap_ms, self._page_ms - self.series.bar_ms)
            first_ms = max(last_ms - reach_ms, self.coverage.first_ms)
            page = Span(first_ms, last_ms) if first_ms <= last_ms else None
        self._unconfirmed = False
        return page


@dataclass
class Life:
    """A connection's present life: when it began, whether it told something, its failures before.

    `again_ms` is when it is to be made anew, None while it is there; `away_since_ms` since when
    nothing is told.
    """

    number: int = 0
    began_ms: int = 0
    failures: int = 0
    told: bool = False
    again_ms: int | None = None
    away_since_ms: int | None = None

    @property
    def stale_ms(self) -> int:
        """How long it may tell nothing."""
        return int(STALE_MS * 2 ** min(self.failures, STALE_DOUBLINGS))


class Live:
    """Keeps the stream of a source open; times are of the monotonic clock, ms."""

    def __init__(
        self, source: Source, feeds: Iterable[BarFeed], clock: Clock, metrics: IngestMetrics
    ) -> None:
        found = [feed for feed in feeds if isinstance(feed, LiveFeed)]
        self._feeds = {(feed.series.symbol, feed.series.interval): feed for feed in found}
        self._source, self._clock, self._metrics = source, clock, metrics
        self._stream: Stream | None = None
        self._lives: list[Life] = []

    def start(self, put: Callable[[Any], None]) -> None:
        """Connect; what is heard goes to `put`, from another thread."""
        self._stream = self._source.listen(list(self._feeds), put)
        if self._stream is None:
            event(log, "live_not_offered", source=self._source.name, instead="polls")
            return
        self._lives = [Life() for _ in self._stream.groups]
        for number in range(len(self._lives)):
            self._open(number)

    def hear(self, series: tuple[str, str], row: list[Any], heard_ms: int) -> LiveFeed | None:
        """Keep a closed bar; the feed that it is for, None where there is nothing to publish."""
        feed = self._feeds.get(series)
        return feed if feed is not None and feed.hear(row, heard_ms) else None

    def cut(self, number: int, life: int, reason: str, refused: bool = False) -> None:
        """Note that a connection is gone, and plan the next one."""
        held = self._lives[number]
        if life != held.number or held.again_ms is not None:
            return
        self._look_at(number)
        held.failures = 1 if held.told else held.failures + 1
        wait_s = REFUSED_S if refused else backoff_s(held.failures)
        now_ms = self._clock.monotonic_ms()
        held.again_ms = now_ms + int(wait_s * 1000)
        held.away_since_ms = now_ms if held.away_since_ms is None else held.away_since_ms
        self._metrics.live_cuts.inc()
        about = {"connection": number, "reason": reason, "wait_s": round(wait_s, 1)}
        event(log, "live_cut", level=logging.WARNING, source=self._source.name, **about)
        self._count()

    def look(self) -> None:
        """Make anew the connections that are due; drop those that tell nothing for too long."""
        now_ms = self._clock.monotonic_ms()
        for number, life in enumerate(self._lives):
            self._look_at(number)
            if life.again_ms is not None and life.again_ms <= now_ms:
                self._metrics.live_resubscribed.inc()
                self._open(number)
            elif life.again_ms is None and self._silent_since(number) + life.stale_ms <= now_ms:
                self.cut(number, life.number, f"nothing for {life.stale_ms / 1000:g} s")
        since = [life.away_since_ms for life in self._lives if life.away_since_ms is not None]
        self._metrics.live_away_s.set((now_ms - min(since, default=now_ms)) / 1000)

    @property
    def opened(self) -> int:
        """How many connections were made so far."""
        return sum(life.number for life in self._lives)

    def looks_at(self) -> list[int]:
        """When each connection is to be looked at again."""
        return [
            self._silent_since(number) + life.stale_ms if life.again_ms is None else life.again_ms
            for number, life in enumerate(self._lives)
        ]

    def close(self) -> None:
        """Close all connections."""
        if self._stream is not None:
            self._stream.close()

    def _open(self, number: int) -> None:
        assert self._stream is not None
        before = self._lives[number]
        now_ms = self._clock.monotonic_ms()
        away_ms = now_ms if before.away_since_ms is None else before.away_since_ms
        self._lives[number] = Life(
            before.number + 1, now_ms, before.failures, away_since_ms=away_ms
        )
        self._stream.open(number, before.number + 1)

    def _silent_since(self, number: int) -> int:
        assert self._stream is not None
        began_ms = self._lives[number].began_ms
        return max(began_ms, self._stream.heard_at.get(number, began_ms))

    def _look_at(self, number: int) -> None:
        """Note a connection's first word."""
        life = self._lives[number]
        if not life.told and self._silent_since(number) > life.began_ms:
            life.told, life.failures, life.away_since_ms = True, 0, None
            event(log, "live", source=self._source.name, connection=number)
            self._count()

    def _count(self) -> None:
        up = [life for life in self._lives if life.told and life.again_ms is None]
        self._metrics.live_connections.set(len(up))
