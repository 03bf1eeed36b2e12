"""A run of the poller against a server and a broker, and what a reader makes of its topic."""

import json
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass, field

from conf.sections import Ingest, Kafka
from ingest.bar import Bar
from ingest.bar_feed import BarFeed
from ingest.budget import RateBudget
from ingest.cursor import bars_since, messages_since, resume_bars
from ingest.metrics import IngestMetrics
from ingest.plan import bar_feeds
from ingest.poll import Poller
from ingest.publish import Publisher
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
    timeframes: Sequence[str] = ("1m",)
    intervals_of: dict[str, Sequence[str]] = field(default_factory=dict)
    every_s: int = 60
    backfill_bars: int = 10
    timeout_s: float = PATIENT_S
    calls_per: dict[str, int] = field(default_factory=dict)
    metrics: IngestMetrics = field(default_factory=IngestMetrics)
    broker_timeout_s: float = 5.0

    @property
    def kafka(self) -> Kafka:
        return kafka_settings(self.bootstrap_servers, self.topic)

    @property
    def settings(self) -> Ingest:
        return Ingest.model_validate(
            {
                "source": self.source_name,
                "symbols": list(self.symbols),
                "intervals": list(self.timeframes),
                "intervals_of": {name: list(some) for name, some in self.intervals_of.items()},
                "every_s": self.every_s,
                "backfill_bars": self.backfill_bars,
                "calls_per": self.calls_per,
            }
        )

    def until(self, until_ms: int) -> Sequence[BarFeed]:
        """Start, resume from the topic, and poll up to `until_ms` of the simulated time."""
        options = SourceOptions(
            clock=self.clock, base_url=self.server.url, timeout_s=self.timeout_s
        )
        source = open_source(self.source_name, options)
        now_ms = self.clock.now_ms()
        feeds = bar_feeds(source, self.settings, self.kafka, now_ms)
        resume_bars(feeds, self.kafka, now_ms)
        with Publisher(
            self.bootstrap_servers, timeout_s=self.broker_timeout_s, stopping=self.clock.stopping
        ) as publisher:
            Poller(
                feeds,
                publisher,
                self.settings,
                clock=self.clock,
                budget=RateBudget(self.calls_per, now_ms),
                metrics=self.metrics,
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


def kafka_settings(bootstrap_servers: str, topic: str) -> Kafka:
    """Topics that are named after `topic`."""
    return Kafka(
        bootstrap_servers=bootstrap_servers,
        bars_topic=topic,
        rejected_topic=f"{topic}.rejected",
        news_topic=f"{topic}.news",
    )


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
