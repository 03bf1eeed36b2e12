"""The poller without a broker: a source that a test makes, and a topic that is a list."""

import json
from base64 import b64decode
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from conf.sections import Ingest, Kafka
from ingest.bar import Bar
from ingest.bar_feed import BarFeed, Series
from ingest.budget import RateBudget
from ingest.metrics import IngestMetrics
from ingest.poll import Poller
from ingest.publish import Publisher, Record
from ingest.sources import Source, SourceOptions, Terms
from tests.ingest.market_server import SimulatedClock

MINUTE_MS = 60_000

Rows = Callable[[str, int, int], Sequence[Any]]


class Made(Source):
    """A source whose `rows` a test gives, by symbol, first and last open time."""

    metered = False

    def __init__(self, clock: SimulatedClock, rows: Rows, page_bars: int = 500) -> None:
        super().__init__("made", SourceOptions(clock=clock))
        self.made = rows
        self.page_bars = page_bars
        self.asked: list[tuple[str, int, int]] = []

    def terms(self, timeframe: str) -> Terms:
        return Terms(self.page_bars)

    def rows(self, symbol: str, timeframe: str, first_ms: int, last_ms: int) -> Sequence[Any]:
        self.asked.append((symbol, first_ms, last_ms))
        return self.made(symbol, first_ms, last_ms)


class Topics(Publisher):
    """Takes records as Kafka would, and keeps them."""

    def __init__(self) -> None:
        super().__init__("none:1")
        self.records: list[Record] = []

    def send(self, records: Iterable[Record]) -> int:
        taken = list(records)
        self.records += taken
        return len(taken)

    def bars(self) -> list[Bar]:
        return [Bar.from_json(r.value) for r in self.records if r.topic == "bars"]

    def rejected(self) -> list[tuple[str, str]]:
        found = [json.loads(r.value) for r in self.records if r.topic == "bars.rejected"]
        return [(one["reason"], b64decode(one["value_base64"]).decode()) for one in found]


def row(time_ms: int, close: float = 11.0) -> list[Any]:
    return [time_ms, 10.0, 12.0, 9.0, close, 1.5, None]


def every_minute(symbol: str, first_ms: int, last_ms: int) -> list[list[Any]]:
    """A row for each minute asked for, whatever the time."""
    return [
        row(time) for time in range(-(-first_ms // MINUTE_MS) * MINUTE_MS, last_ms + 1, MINUTE_MS)
    ]


class Polled:
    """A poller over one source; `until` runs it."""

    def __init__(
        self,
        clock: SimulatedClock,
        source: Source,
        symbols: Sequence[str] = ("BTC-USD",),
        *,
        backfill_bars: int = 10,
        attempts: int = 2,
        earliest_ms: int = 0,
        period_ms: int = MINUTE_MS,
    ) -> None:
        self.clock = clock
        self.topics = Topics()
        self.metrics = IngestMetrics()
        settings = Ingest(attempts=attempts)
        since_ms = clock.now_ms() - backfill_bars * MINUTE_MS
        self.feeds = [
            BarFeed(
                Series(symbol, "1m", period_ms, 2_000),
                source,
                Kafka(),
                since_ms=since_ms,
                overlap_bars=5,
                earliest_ms=earliest_ms,
            )
            for symbol in symbols
        ]
        self.poller = Poller(
            self.feeds,
            self.topics,
            settings,
            clock=clock,
            budget=RateBudget({}, clock.monotonic_ms()),
            metrics=self.metrics,
        )

    def until(self, until_ms: int) -> list[int]:
        """Poll up to a wall time; return the minutes on the topic, in their order."""
        self.poller.run(until_ms)
        return [bar.open_time // MINUTE_MS for bar in self.topics.bars()]

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"candlecast_ingest_{name}", labels)
