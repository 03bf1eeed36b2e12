"""Live polling put together: feeds that know what is on the topic, and what drives them."""

import threading
from collections.abc import Callable, Sequence
from typing import Final

from conf.errors import CandlecastError
from conf.kafka import Broker
from ingest.budget import RateBudget
from ingest.clock import Clock
from ingest.cursor import Report
from ingest.feed import BarFeed, Feed, Series
from ingest.metrics import IngestMetrics
from ingest.news import NewsFeed
from ingest.poll import Poller
from ingest.publish import Publisher, ensure_topics
from ingest.resume import resume_bars, resume_news
from ingest.retry import until_broker_answers
from ingest.sources import Source

CHECKED_BARS: Final = 3


def bar_feeds(
    series: Sequence[Series],
    source: Source,
    *,
    now_ms: int,
    since_ms: int | None,
    backfill_bars: int,
    overlap_bars: int,
    bars_topic: str,
    rejected_topic: str,
) -> list[BarFeed]:
    """A feed for each series, from `since_ms` (epoch ms) or `backfill_bars` before now on."""
    return [
        BarFeed(
            one,
            source,
            since_ms=now_ms - backfill_bars * one.bar_ms if since_ms is None else since_ms,
            bars_topic=bars_topic,
            rejected_topic=rejected_topic,
            overlap_bars=overlap_bars,
        )
        for one in series
    ]


class Live:
    """One program's polling: resumes, polls, and ends when `stopping` is set."""

    def __init__(
        self,
        broker: Broker,
        *,
        clock: Clock,
        stopping: threading.Event,
        bars_topic: str,
        news_topic: str,
    ) -> None:
        self._broker = broker
        self._clock = clock
        self._stopping = stopping
        self._bars_topic = bars_topic
        self._news_topic = news_topic

    def resume(
        self,
        feeds: Sequence[BarFeed],
        news: Sequence[NewsFeed],
        topics: dict[str, int],
        retention_s: float | None,
        report: Report = lambda done, total: None,
    ) -> int:
        """Create missing topics and read the cursors back; return how many bars are missing.

        Waits for a broker that is not there yet. Raises BrokerUnavailable once `stopping` is set.
        """
        patiently = until_broker_answers(self._clock, self._stopping)
        patiently(ensure_topics, self._broker, topics, retention_s=retention_s)
        now_ms = self._clock.now_ms()
        for one in news:
            patiently(resume_news, one, self._broker, self._news_topic, now_ms)
        return int(patiently(resume_bars, feeds, self._broker, self._bars_topic, now_ms, report))

    def poll(
        self,
        feeds: Sequence[Feed],
        *,
        budget: RateBudget,
        metrics: IngestMetrics,
        workers: int,
        attempts: int,
        once: bool = False,
        report: Callable[[int], None] = lambda bars: None,
    ) -> None:
        """Poll until stopped, or `once`. Raises ConfigurationError where a person has to act."""
        publisher = Publisher(self._broker, stopping=self._stopping)
        poller = Poller(
            feeds,
            publisher,
            clock=self._clock,
            budget=budget,
            metrics=metrics,
            stopping=self._stopping,
            workers=workers,
            attempts=attempts,
            report=report,
        )
        try:
            poller.run(self._clock.now_ms() if once else None)
        finally:
            publisher.close()


def check_source(source: Source, series: Series, now_ms: int) -> str:
    """Ask for a few closed bars once, and say what came; raises what `Source.fetch` may raise."""
    last_ms = series.last_closed(now_ms)
    first_ms = last_ms - (CHECKED_BARS - 1) * series.bar_ms
    bars = source.fetch(series.symbol, series.interval, first_ms, last_ms)
    broken = [reason for bar in bars if (reason := bar.violation(now_ms)) is not None]
    newest = f" newest_close={bars[-1].close:g}" if bars else ""
    return (
        f"source={source.name} symbol={series.symbol} interval={series.interval}"
        f" bars={len(bars)}/{CHECKED_BARS} broken={len(broken)}{newest}"
    )


def problems(*checks: Callable[[], str]) -> tuple[list[str], int]:
    """Run every check; return a line for each, and the exit code of the first that failed.

    >>> problems(lambda: "source=example bars=3/3")
    (['ok      source=example bars=3/3'], 0)
    """
    lines, code = [], 0
    for check in checks:
        try:
            lines.append(f"ok      {check()}")
        except CandlecastError as error:
            lines.append(f"problem {type(error).__name__}: {error}")
            code = code or error.exit_code
    return lines, code
