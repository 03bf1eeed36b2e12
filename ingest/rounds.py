"""The books of the poller: what a round found and how far behind it is, for log and metrics."""

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from conf.events import event
from ingest.bar import Bar
from ingest.budget import RateBudget
from ingest.clock import Clock
from ingest.feed import Feed, Findings
from ingest.metrics import IngestMetrics

log = logging.getLogger(__name__)

# A bar that is older was away when it closed: how late it is says nothing of the way here.
AT_ITS_TIME_MS: Final = 120_000
COUNTED: Final = ("bars", "articles", "revised", "rejected", "calls", "errors")
COUNTED_LAST: Final = ("cuts", "gave_up")


@dataclass(slots=True)
class Round:
    """The feeds that were due together: how many, how many are not done, what they found."""

    started_ms: int
    symbols: int
    pending: int
    counts: dict[str, Any] = field(default_factory=lambda: dict.fromkeys(COUNTED + COUNTED_LAST, 0))


class Books:
    """Counts for `metrics` and for the line of each round."""

    def __init__(self, feeds: Sequence[Feed], clock: Clock, metrics: IngestMetrics) -> None:
        self._feeds = feeds
        self._clock = clock
        self._started_ms = clock.now_ms()
        self._metrics = metrics

    def called(self, together: Round) -> None:
        """Count a call of the source."""
        together.counts["calls"] += 1
        self._metrics.calls.inc()

    def failed(self, error: BaseException, together: Round | None = None) -> None:
        """Count a failure, of the source or of Kafka."""
        if together is not None:
            together.counts["errors"] += 1
        self._metrics.errors.labels(kind=type(error).__name__).inc()

    def gave_up(self, together: Round) -> None:
        """Count a question that is left to the next poll."""
        together.counts["gave_up"] += 1
        self._metrics.gave_up.inc()

    def heard(self, bars: Sequence[Bar]) -> None:
        """Count bars that a websocket told, which are published."""
        self._metrics.published["bars"].inc(len(bars))
        self._observe(bars, "websocket")

    def _observe(self, bars: Iterable[Bar], by: str) -> None:
        now_ms = self._clock.now_ms()
        for bar in bars:
            if now_ms - bar.close_time < AT_ITS_TIME_MS:
                seen = self._metrics.closed_to_acknowledged.labels(source=bar.source, by=by)
                seen.observe(max(0, now_ms - bar.close_time) / 1000)

    def found(self, together: Round, feed: Feed, findings: Findings) -> None:
        """Count what a feed's poll found, which is published."""
        kind = feed.kind
        self._observe(findings.bars, "poll")
        if feed.live:
            self._metrics.live_filled.inc(findings.new)
            self._metrics.live_differences.inc(findings.revised)
        together.counts[kind] += findings.new
        together.counts["revised"] += findings.revised
        together.counts["cuts"] += findings.cuts
        together.counts["rejected"] += len(findings.rejected)
        self._metrics.published[kind].inc(findings.new)
        self._metrics.revised.inc(findings.revised)
        self._metrics.cuts.inc(findings.cuts)
        for reason in findings.rejected:
            self._metrics.rejected.labels(kind=kind, reason=reason).inc()

    def finish(self, together: Round, budget: RateBudget, left_out: Collection[Feed]) -> None:
        """Note that a poll is done; behind the last of its round, one line to the log and gauges.

        `late_s`: since the close of the newest bar; `behind_s`: of the series furthest behind.
        """
        together.pending -= 1
        if together.pending:
            return
        now_ms = self._clock.now_ms()
        closes = [close for f in self._feeds if (close := f.newest_close_ms()) is not None]
        late_s = (now_ms - max(closes, default=now_ms)) / 1000
        gaps = sum(feed.gaps() for feed in self._feeds)
        took_s = (self._clock.monotonic_ms() - together.started_ms) / 1000
        self._metrics.gaps.set(gaps)
        self._metrics.left_out.set(len(left_out))
        self._metrics.poll_s.set(took_s)
        for window, left in budget.left.items():
            self._metrics.budget.labels(window=window).set(max(0.0, left))
        counts = {name: together.counts[name] for name in COUNTED}
        last = {name: together.counts[name] for name in COUNTED_LAST}
        lag: dict[str, Any] = {
            "late_s": late_s,
            "behind_s": self.behind(left_out),
            "took_s": took_s,
        }
        event(log, "poll", symbols=together.symbols, gaps=gaps, **counts, **lag, **last)

    def behind(self, left_out: Collection[Feed] = ()) -> float:
        """Seconds since the newest close of the series furthest behind, or since the start."""
        series: Iterable[Feed] = (f for f in self._feeds if f.kind == "bars" and f not in left_out)
        now_ms = self._clock.now_ms()
        closes = [feed.newest_close_ms() or self._started_ms for feed in series]
        behind_s = (now_ms - min(closes, default=now_ms)) / 1000
        self._metrics.behind_s.set(behind_s)
        return behind_s
