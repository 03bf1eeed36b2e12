"""A run of the poller against a server and a broker, and what a reader makes of its topic."""

import json
import threading
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass, field

from ingest.bar import Bar
from ingest.budget import RateBudget
from ingest.cursor import bars_since, messages_since
from ingest.feed import BarFeed
from ingest.metrics import IngestMetrics
from ingest.plan import plan_series
from ingest.poll import Poller
from ingest.publish import Publisher
from ingest.resume import resume_bars
from ingest.sources import SourceOptions, open_source
from tests.ingest.market_server import MarketServer, SimulatedClock

START_MS = 1_600_000_000_000 // 86_400_000 * 86_400_000
MINUTE_MS = 60_000
DAY_MS = 86_400_000
KEY = "a-key-that-nobody-may-see"
# For one answer, on the real clock: for a server that stalls, and for one that only is slow today.
IMPATIENT_S = 0.3
PATIENT_S = 60.0


@dataclass
class Run:
    """One program's life: everything that a restart would make anew."""

    server: MarketServer
    clock: SimulatedClock
    bootstrap_servers: str
    topic: str
    source_name: str = "cryptocompare"
    symbols: Sequence[str] = ("BTC-USD",)
    intervals: Sequence[str] = ("1m",)
    intervals_of: dict[str, Sequence[str]] = field(default_factory=dict)
    every_s: int = 60
    backfill_bars: int = 10
    timeout_s: float = PATIENT_S
    calls_per: dict[str, int] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)
    metrics: IngestMetrics = field(default_factory=IngestMetrics)
    overlap_bars: int = 5
    broker_timeout_s: float = 5.0

    def until(self, until_ms: int) -> Sequence[BarFeed]:
        """Start, resume from the topic, and poll up to `until_ms` of the simulated time."""
        options = SourceOptions(
            clock=self.clock, api_key=KEY, base_url=self.server.url, timeout_s=self.timeout_s
        )
        source = open_source(self.source_name, options)
        series = plan_series(
            source,
            symbols=self.symbols,
            timeframes=self.intervals,
            intervals_of=self.intervals_of,
            every_s=self.every_s,
            grace_s={},
        )
        now_ms = self.clock.now_ms()
        feeds = [
            BarFeed(
                one,
                source,
                since_ms=now_ms - self.backfill_bars * one.bar_ms,
                bars_topic=self.topic,
                rejected_topic=f"{self.topic}.rejected",
                overlap_bars=self.overlap_bars,
            )
            for one in series
        ]
        resume_bars(feeds, self.bootstrap_servers, self.topic, now_ms)
        with Publisher(
            self.bootstrap_servers, timeout_s=self.broker_timeout_s, stopping=self.stopping
        ) as publisher:
            Poller(
                feeds,
                publisher,
                clock=self.clock,
                budget=RateBudget(self.calls_per, now_ms),
                metrics=self.metrics,
                stopping=self.stopping,
            ).run(until_ms)
        self.clock.sleep((until_ms - self.clock.now_ms()) / 1000)
        return feeds

    def published(self) -> list[Bar]:
        """Every bar on the topic, in the order of its partition."""
        return list(bars_since(self.bootstrap_servers, self.topic, 0))

    def rejections(self) -> list[tuple[str, int]]:
        """Reason and open time of everything that was rejected."""
        found = []
        for value in messages_since(self.bootstrap_servers, f"{self.topic}.rejected", 0):
            message = json.loads(value)
            found.append(
                (message["reason"], json.loads(b64decode(message["value_base64"]))["open_time"])
            )
        return found


def truth(server: MarketServer, symbol: str, timeframe: str, first_ms: int, last_ms: int) -> dict:
    """The good API's bars, as a reader keeps them: values by key."""
    return latest(server.bars(symbol, timeframe, first_ms, last_ms))


def latest(bars: Sequence[Bar]) -> dict[tuple[str, str, int], tuple[float | None, ...]]:
    """What a reader keeps: for each key the values of the newest bar."""
    kept: dict[tuple[str, str, int], Bar] = {}
    for bar in bars:
        key = (bar.symbol, bar.interval, bar.open_time)
        if key not in kept or bar.fetched_at >= kept[key].fetched_at:
            kept[key] = bar
    return {
        key: (b.open, b.high, b.low, b.close, b.base_volume, b.quote_volume)
        for key, b in kept.items()
    }
