"""From an exchange's close message to the acknowledged bar: 300 series on one machine.

`python -m bench.live_ingest` writes `bench/live_ingest.json`. A server on loopback closes every
minute of every series at once, as Binance does it, and answers the polls that confirm; a minute
lasts `MINUTE_S` seconds, so that there are many of them. Polling alone can't be earlier than its
grace, 3 s.
"""

import logging
import os
import platform
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import ccxt
import numpy as np
from rich.console import Console

from bench.report import write
from conf.settings import Ingest, Kafka
from ingest.bar import Bar
from ingest.budget import RateBudget
from ingest.clock import Clock
from ingest.live import Live, LiveFeed
from ingest.metrics import IngestMetrics
from ingest.plan import bar_feeds
from ingest.poll import Poller
from ingest.publish import Publisher, Record
from ingest.sources import SourceOptions, open_source
from ingest.topics import ensure_topics
from jobs.machine.broker import EmbeddedBroker
from jobs.terminal.program import run_program
from tests.ingest.exchange_server import MINUTE_MS, Binance, ExchangeServer, Market

REPORT: Final = Path("bench/live_ingest.json")
SERIES: Final = 300
MINUTES: Final = 15
MINUTE_S: Final = 12.0
WARM_UP: Final = 3

Key = tuple[str, int]


class FastClock(Clock):
    """A clock whose minutes last `MINUTE_S` seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._began = time.monotonic()
        # the beginning of a minute, some years ago
        self._from_ms = 1_700_000_040_000 // MINUTE_MS * MINUTE_MS

    def now_ms(self) -> int:
        """Epoch ms of this clock."""
        return self._from_ms + self.monotonic_ms()

    def monotonic_ms(self) -> int:
        """Milliseconds of this clock since it began."""
        return int((time.monotonic() - self._began) * MINUTE_MS / MINUTE_S)

    def sleep(self, seconds: float) -> None:
        """Wait for seconds of this clock."""
        super().sleep(seconds * MINUTE_S * 1000 / MINUTE_MS)


class Timed(Publisher):
    """Notes when each bar was acknowledged."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.acknowledged: dict[Key, float] = {}

    def send(self, records: Iterable[Record]) -> int:
        """Send, and note the time."""
        sent = list(records)
        count = super().send(sent)
        now_s = time.perf_counter()
        for record in sent:
            bar = Bar.from_json(record.value)
            self.acknowledged.setdefault((bar.symbol, bar.open_time), now_s)
        return count


def main() -> int:
    """Run the benchmark, print and write what it found."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder, EmbeddedBroker(Path(folder) / "broker") as broker:
        found = measured(broker.bootstrap_servers)
    write(REPORT, found)
    Console().print_json(data=found)
    return 0


def measured(bootstrap_servers: str) -> dict[str, Any]:
    """Seconds from message to acknowledgement, over all series and minutes."""
    symbols = [f"C{number:03}-USDT" for number in range(SERIES)]
    clock, told = FastClock(), dict[Key, float]()
    kafka = Kafka(bootstrap_servers=bootstrap_servers, bars_topic="bars", partitions=4)
    ensure_topics(kafka, {"bars": 4, "bars.rejected": 1})
    settings = Ingest(source="exchange:binance", symbols=symbols, intervals=["1m"], calls_per={})
    with ExchangeServer(Binance(), symbols, clock) as server, Timed(kafka) as publisher:
        server.market = Market(clock, quiet=10**9)
        options = SourceOptions(clock=clock, base_url=server.url)
        source = open_source(settings.source, options)
        source.named(symbols[0])
        metrics = IngestMetrics()
        since_ms = clock.now_ms()
        feeds = bar_feeds(source, settings, kafka, since_ms, since_ms, LiveFeed)
        live = Live(source, feeds, clock, metrics)
        poller = Poller(
            *(feeds, publisher, settings),
            clock=clock,
            budget=RateBudget({}, 0),
            metrics=metrics,
            live=live,
        )
        teller = threading.Thread(target=tell, args=(server, symbols, clock, told), daemon=True)
        with closing(live):
            teller.start()
            poller.run()
        teller.join()
    return report_of(told, publisher.acknowledged, metrics)


def tell(
    server: ExchangeServer, symbols: list[str], clock: FastClock, told: dict[Key, float]
) -> None:
    """Close each minute of each series, `MINUTES` long; then stop the clock."""
    first_ms = clock.now_ms() // MINUTE_MS * MINUTE_MS
    for minute in range(MINUTES + WARM_UP):
        opened_ms = first_ms + minute * MINUTE_MS
        candles = {symbol: server.truth(symbol, opened_ms, opened_ms)[0] for symbol in symbols}
        for share in (0.3, 0.6):
            clock.sleep((opened_ms + MINUTE_MS * share - clock.now_ms()) / 1000)
            forming = [c.so_far(share) for c in candles.values()]
            server.say(*map(server.protocol.told, symbols, forming, [False] * len(symbols)))
        clock.sleep((opened_ms + MINUTE_MS - clock.now_ms()) / 1000)
        now_s = time.perf_counter()
        if minute >= WARM_UP:
            told |= {(symbol, opened_ms): now_s for symbol in symbols}
        server.close(candles)
    clock.sleep(30)
    clock.stopping.set()


def report_of(
    told: dict[Key, float], acknowledged: dict[Key, float], metrics: IngestMetrics
) -> dict[str, Any]:
    """Percentiles, and what it ran on."""
    waits = np.array([acknowledged[key] - at for key, at in told.items() if key in acknowledged])
    differs = metrics.registry.get_sample_value("candlecast_ingest_live_differences_total")
    return {
        "series": SERIES,
        "bars": len(told),
        "missing": len(told) - len(waits),
        "p50_s": round(float(np.quantile(waits, 0.5)), 3),
        "p99_s": round(float(np.quantile(waits, 0.99)), 3),
        "most_s": round(float(waits.max()), 3),
        "by_poll_at_least_s": 3.0,
        "differences": differs,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "ccxt": ccxt.__version__,
    }


if __name__ == "__main__":
    run_program(main)
