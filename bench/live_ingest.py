"""From an exchange's close message to the acknowledged bar, and on to its last prediction: 300
series, their stream and their broker on one machine.

`python -m bench.live_ingest` writes `bench/live_ingest.json`. A server on loopback closes every
minute of every series at once, as Binance does it, and answers the polls that confirm. Polling
alone can't be earlier than its grace, 3 s.
"""

import logging
import os
import platform
import threading
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import ccxt
import numpy as np
from rich.console import Console

from bench.job import SparkJob
from bench.live import last_by_bar
from bench.report import write
from bench.series import FIRST_OPEN_MS, LOOKBACK, PARTITIONS
from bench.stage import Stage
from conf.sections import Ingest, Kafka
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
from jobs.machine.processes import wait_until
from jobs.terminal.program import run_program
from tests.ingest.exchange_server import MINUTE_MS, Binance, ExchangeServer, Market

REPORT: Final = Path("bench/live_ingest.json")
SERIES: Final = 300
MINUTES: Final = 8
WARM_UP: Final = 5
# How long the predictions of the last minute may take.
LAST_S: Final = 60.0

Key = tuple[str, int]


class Timed(Publisher):
    """Notes when each bar was acknowledged."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.acknowledged: dict[Key, float] = {}

    def send(self, records: Iterable[Record]) -> int:
        """Send, and note the time."""
        sent = list(records)
        count = super().send(sent)
        now_s = time.time()
        for record in sent:
            bar = Bar.from_json(record.value)
            self.acknowledged.setdefault((bar.symbol, bar.open_time), now_s)
        return count


def main() -> int:
    """Run the benchmark, print and write what it found."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    with Stage() as stage, stage.job("live-ingest", "live-ingest-bars") as job:
        found = measured(stage.broker, job)
    write(REPORT, found)
    Console().print_json(data=found)
    return 0


def measured(broker: str, job: SparkJob) -> dict[str, Any]:
    """Seconds from message to acknowledgement and prediction, over all series and minutes."""
    symbols = [f"C{number:03}-USDT" for number in range(SERIES)]
    clock, told = Clock(), dict[Key, float]()
    kafka = Kafka(bootstrap_servers=broker, bars_topic=job.bars_topic, partitions=PARTITIONS)
    ensure_topics(kafka, {kafka.rejected_topic: 1})
    settings = Ingest(source="exchange:binance", symbols=symbols, intervals=["1m"], calls_per={})
    with ExchangeServer(Binance(), symbols, clock) as server, Timed(kafka) as publisher:
        server.market = Market(clock, quiet=10**9)
        options = SourceOptions(clock=clock, base_url=server.url)
        source = open_source(settings.source, options)
        source.named(symbols[0])
        metrics = IngestMetrics()
        now_ms = clock.now_ms()
        since_ms = now_ms - LOOKBACK * MINUTE_MS
        feeds = bar_feeds(source, settings, kafka, now_ms, since_ms, LiveFeed)
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
    predicted: dict[Key, float] = {}

    def all_predicted() -> bool:
        predicted.update(predicted_at(broker, job.output_topic))
        return told.keys() <= predicted.keys()

    wait_until(all_predicted, LAST_S, job.program.check)
    return report_of(told, publisher.acknowledged, predicted, metrics)


def predicted_at(broker: str, topic: str) -> dict[Key, float]:
    """By symbol and open time (epoch ms), when the bar's last prediction could be read (unix s)."""
    return {
        (symbol, FIRST_OPEN_MS + minute * MINUTE_MS): at_ms / 1000
        for (symbol, minute), at_ms in last_by_bar(broker, topic, 0).items()
    }


def tell(server: ExchangeServer, symbols: list[str], clock: Clock, told: dict[Key, float]) -> None:
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
        now_s = time.time()
        if minute >= WARM_UP:
            told |= {(symbol, opened_ms): now_s for symbol in symbols}
        server.close(candles)
    clock.sleep(20)
    clock.stopping.set()


def report_of(
    told: dict[Key, float],
    acknowledged: dict[Key, float],
    predicted: dict[Key, float],
    metrics: IngestMetrics,
) -> dict[str, Any]:
    """Percentiles, and what it ran on."""
    differs = metrics.registry.get_sample_value("candlecast_ingest_live_differences_total")
    return {
        "series": SERIES,
        "bars": len(told),
        "acknowledged": waits(told, acknowledged),
        "predicted": waits(told, predicted),
        "by_poll_at_least_s": 3.0,
        "differences": differs,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "ccxt": ccxt.__version__,
    }


def waits(told: dict[Key, float], done: dict[Key, float]) -> dict[str, float]:
    """Percentiles of the seconds in between, and of how many bars there are none."""
    seconds = np.array([done[key] - at for key, at in told.items() if key in done])
    return {
        "missing": len(told) - len(seconds),
        "p50_s": round(float(np.quantile(seconds, 0.5)), 3),
        "p99_s": round(float(np.quantile(seconds, 0.99)), 3),
        "most_s": round(float(seconds.max()), 3),
    }


if __name__ == "__main__":
    run_program(main)
