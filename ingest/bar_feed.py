"""The feed of one symbol's bars: what is missing, in pages, each bar published once."""

import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from conf.events import event
from conf.sections import Kafka
from conf.timeframes import TIMEFRAME_MS
from ingest.bar import Bar, log_rejected
from ingest.clock import Clock
from ingest.coverage import ABSENT, PUBLISHED, UNKNOWN, Coverage
from ingest.feed import MAX_RECHECK_MS, RECHECK_MS, Feed, Findings, Steps
from ingest.publish import bar_record, rejection_record, unreadable_record
from ingest.sources import Source
from ingest.sources.rows import UNREADABLE_ROW, Answer, Span

log = logging.getLogger(__name__)

LOGGED_CHARACTERS: Final = 200
# Of an answer's rows that can't be read, so many are kept; the others are counted.
KEPT_ROWS: Final = 100
# Rejections that are remembered, so that none is sent twice while it is asked for again.
REMEMBERED: Final = 2_000


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


class BarFeed(Feed):
    """One series' bars from `since_ms` (epoch ms) on, oldest first.

    Every poll also asks again for the last `overlap_bars` bars: one that is late is published, one
    that the source has revised since is published again. `topics` names where bars and rejections
    go.
    """

    kind = "bars"

    def __init__(
        self,
        series: Series,
        source: Source,
        topics: Kafka,
        *,
        since_ms: int,
        overlap_bars: int,
        earliest_ms: int = 0,
    ) -> None:
        super().__init__(f"{series.symbol} {series.interval}", series.period_ms, series.grace_ms)
        self.series = series
        self._source = source
        self._topics = topics
        self._terms = source.terms(series.interval)
        self._page_ms = self._terms.page_bars * series.bar_ms
        self._overlap_ms = overlap_bars * series.bar_ms
        self._earliest_ms = earliest_ms
        self.coverage = Coverage(max(since_ms, earliest_ms), series.bar_ms)
        self._recent: dict[int, Bar] = {}
        self._rejected: dict[int | str, None] = {}
        self._recheck_ms = RECHECK_MS
        self._recheck_at_ms: int | None = None
        self._absent = 0

    def saw(self, bar: Bar) -> None:
        """Note a bar that is on the topic."""
        self.coverage.mark(bar.open_time, PUBLISHED)
        if bar.open_time >= self.coverage.last_ms - self._overlap_ms:
            self._recent[bar.open_time] = bar

    def missing(self, now_ms: int) -> int:
        """Reach up to the newest closed bar; return how many bars were not asked for yet."""
        if self._terms.keeps_ms is not None:
            # One bar of room: the oldest may fall out between asking and answering.
            self.coverage.forget_before(now_ms - self._terms.keeps_ms + self.series.bar_ms)
        self.coverage.reach(self.series.last_closed(now_ms))
        oldest = self.coverage.last_ms - self._overlap_ms
        self._recent = {time: bar for time, bar in self._recent.items() if time >= oldest}
        return self.coverage.count(UNKNOWN)

    def poll(self, clock: Clock) -> Steps:
        """Ask for what is missing, a page at a time, oldest first.

        A page that failed for good is left to the next poll; the newest bars are tried still.
        """
        self.missing(clock.now_ms())
        if self._recheck_at_ms is not None and clock.now_ms() >= self._recheck_at_ms:
            self.coverage.ask_again()
            self._recheck_at_ms = None
        from_ms: int | None = None
        rest: list[Span] = []
        while (page := rest.pop() if rest else self._next_page(from_ms)) is not None:
            series = self.series
            answer = yield partial(self._source.fetch, series.symbol, series.interval, *page)
            if answer is not None:
                answered = self._answered(page, answer.span)
                left = self._rest(page, answered)
                rest += left
                yield from self._publish(answer, answered, clock.now_ms(), cuts=min(1, len(left)))
            elif page.last_ms >= self.coverage.last_ms:
                break
            else:
                rest.clear()
                from_ms = max(page.last_ms, self.coverage.last_ms - self._page_ms) + series.bar_ms
        self._plan_recheck(clock.now_ms())

    def newest_close_ms(self) -> int | None:
        """The close of the newest bar published."""
        newest = self.coverage.newest(PUBLISHED)
        return None if newest is None else newest + self.series.bar_ms

    def gaps(self) -> int:
        """Bars after the first published one that are not published."""
        return self.coverage.gaps()

    def _next_page(self, from_ms: int | None) -> Span | None:
        """The oldest missing bars, with the overlap where it fits.

        A known bar before and behind them is asked for too: an answer that holds it is not cut.
        """
        oldest_ms = self.coverage.oldest(UNKNOWN, from_ms)
        if oldest_ms is None:
            return None
        reach_ms = min(self._overlap_ms, self._page_ms - self.series.bar_ms)
        first_ms = min(oldest_ms, max(self.coverage.last_ms - reach_ms, self.coverage.first_ms))
        known_ms = self.coverage.newest(PUBLISHED, first_ms)
        if known_ms is not None and known_ms >= oldest_ms - reach_ms:
            first_ms = known_ms
        end_ms = first_ms + self._page_ms - self.series.bar_ms
        last_ms = self.coverage.newest(UNKNOWN, end_ms)
        if last_ms is None or last_ms < oldest_ms:
            last_ms = oldest_ms
        behind_ms = self.coverage.oldest(PUBLISHED, last_ms)
        return Span(
            first_ms, last_ms if behind_ms is None else max(last_ms, min(behind_ms, end_ms))
        )

    def _answered(self, page: Span, said: Span | None) -> Span:
        """The stretch of `page` about which an answer that speaks of `said` leaves no doubt.

        Where the newest bars are missing in a series that lately had minutes without a trade, the
        next polls ask for them anyway: that is no reason for a call more.
        """
        if said is None:
            return page
        first_ms, last_ms = (time // self.series.bar_ms * self.series.bar_ms for time in said)
        recent_ms = self.coverage.last_ms - self._overlap_ms
        if last_ms >= recent_ms and self.coverage.count(ABSENT, recent_ms, last_ms):
            last_ms = page.last_ms
        return Span(first_ms, last_ms)

    def _rest(self, page: Span, answered: Span) -> list[Span]:
        """What of `page` is still to be asked for, the earlier part last."""
        before = Span(page.first_ms, answered.first_ms - self.series.bar_ms)
        behind = Span(answered.last_ms + self.series.bar_ms, page.last_ms)
        return [part for part in (behind, before) if self.coverage.count(UNKNOWN, *part)]

    def _publish(self, answer: Answer, answered: Span, now_ms: int, cuts: int) -> Steps:
        """Publish new and revised bars, reject once those that break a rule; then mark them all."""
        findings = Findings(answered=self.coverage.count(UNKNOWN, *answered), cuts=cuts)
        published = []
        for bar in answer:
            reason = bar.rejection_reason(now_ms, self._earliest_ms)
            known = self._recent.get(bar.open_time)
            if reason is not None:
                self._reject(bar.open_time, bar, reason, findings, now_ms)
            elif self.coverage.state(bar.open_time) in (UNKNOWN, ABSENT):
                findings.new += 1
                findings.bars.append(bar)
                published.append(bar)
            elif known and replace(known, source=bar.source, fetched_at=bar.fetched_at) != bar:
                findings.revised += 1
                published.append(bar)
        findings.rejected += [UNREADABLE_ROW] * len(answer.unreadable[KEPT_ROWS:])
        for row in answer.unreadable[:KEPT_ROWS]:
            self._reject(row, row, UNREADABLE_ROW, findings, now_ms)
        findings.records += [bar_record(self._topics.bars_topic, bar) for bar in published]
        yield findings
        for bar in published:
            self.saw(bar)
        self.coverage.mark_absent(*answered)

    def _plan_recheck(self, now_ms: int) -> None:
        """Ask for absent bars again: soon where there are new ones, ever later for old ones."""
        absent = self.coverage.count(ABSENT)
        if absent > self._absent:
            self._recheck_ms = RECHECK_MS
            soon_ms = now_ms + RECHECK_MS
            self._recheck_at_ms = min(soon_ms, self._recheck_at_ms or soon_ms)
        elif absent and self._recheck_at_ms is None:
            self._recheck_ms = min(MAX_RECHECK_MS, 2 * self._recheck_ms)
            self._recheck_at_ms = now_ms + self._recheck_ms
        self._absent = absent

    def _reject(
        self, key: int | str, what: Bar | str, reason: str, findings: Findings, now_ms: int
    ) -> None:
        if key in self._rejected:
            return
        self._rejected[key] = None
        if len(self._rejected) > REMEMBERED:
            del self._rejected[next(iter(self._rejected))]
        findings.rejected.append(reason)
        topic = self._topics.rejected_topic
        if isinstance(what, Bar):
            findings.records.append(rejection_record(topic, what, reason, now_ms))
            log_rejected(what, reason)
            return
        source = self._source.name
        findings.records.append(unreadable_record(topic, source, what, reason, now_ms))
        row = what[:LOGGED_CHARACTERS]
        event(log, "row_rejected", level=logging.WARNING, feed=self.name, reason=reason, row=row)
