"""Recorded file to acknowledged topic, against kafka-python alone sending the same bytes.

`make bench-ingest` writes `bench/ingest.json`. The two run in turns on one broker, each time to a
topic of its own; the medians are compared. The peer gets its bytes ready made in memory and does
nothing but `send` in a loop and one `flush`; ours reads the file, checks every bar, writes its
JSON and waits for every acknowledgement. The peer runs with our producer settings and with its own
defaults, and the faster of the two counts.
"""

import csv
import gzip
import logging
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import kafka
from kafka import KafkaProducer
from rich.console import Console
from rich.progress import track

from bench.report import write
from ingest.clock import Clock
from ingest.publish import BATCH_BYTES, LINGER_S, BarPublisher
from ingest.replay import paced, publish_replay
from ingest.sources.recorded import read_bars
from ingest.topics import ensure_topics
from jobs.machine.broker import EmbeddedBroker
from jobs.terminal.program import run_program

SHIPPED: Final = Path("data/btcusdt_binance_1m_10086rows_2024-12.csv.gz")
REPORT: Final = Path("bench/ingest.json")
SYMBOL: Final = "BTC-USDT"
COPIES: Final = 5
ROUNDS: Final = 7
# Below it something is wrong: bars are checked while the producer sends, at no loss.
LEAST_RATIO: Final = 0.8
OURS: Final = {
    "acks": "all",
    "enable_idempotence": True,
    "linger_ms": int(LINGER_S * 1000),
    "batch_size": BATCH_BYTES,
    "max_request_size": 4 * BATCH_BYTES,
}


def main() -> int:
    """Run the benchmark and return 0 where the ratio reaches LEAST_RATIO."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder, EmbeddedBroker(Path(folder) / "broker") as broker:
        file = longer_file(Path(folder))
        messages = [bar.to_json() for bar in read_bars(file, SYMBOL, "1m")]
        server = broker.bootstrap_servers
        candidates: dict[str, Callable[[str], int]] = {
            "candlecast": partial(replayed, server, file),
            "bare_same_settings": partial(sent, server, messages, OURS),
            "bare_defaults": partial(sent, server, messages, {}),
        }
        rates = measured(server, candidates, len(messages))
    report = report_of(rates, len(messages))
    write(REPORT, report)
    Console().print_json(data=report)
    return 0 if report["ratio"] >= LEAST_RATIO else 1


def longer_file(folder: Path) -> Path:
    """The shipped minutes COPIES times, one after the other in time."""
    with gzip.open(SHIPPED, "rt", newline="") as shipped:
        header, *rows = csv.reader(shipped)
    span_s = int(rows[-1][0]) - int(rows[0][0]) + 60
    path = folder / "bars.csv.gz"
    with gzip.open(path, "wt", newline="") as longer:
        writer = csv.writer(longer)
        writer.writerow(header)
        for copy in range(COPIES):
            writer.writerows([int(row[0]) + copy * span_s, *row[1:]] for row in rows)
    return path


def measured(
    bootstrap_servers: str, candidates: dict[str, Callable[[str], int]], bars: int
) -> dict[str, list[float]]:
    """Bars a second of each candidate in each round; one round before them warms up."""
    rates: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in track(range(ROUNDS + 1), "rounds", console=Console(stderr=True)):
        for name, run in candidates.items():
            topic = f"bench-{name}-{turn}"
            ensure_topics(bootstrap_servers, {topic: 4})
            started_s = time.perf_counter()
            count = run(topic)
            elapsed_s = time.perf_counter() - started_s
            if count != bars:
                raise RuntimeError(f"{name} sent {count} of {bars} bars")
            if turn > 0:
                rates[name].append(bars / elapsed_s)
    return rates


def replayed(bootstrap_servers: str, file: Path, topic: str) -> int:
    """What `candlecast ingest --source recorded --speed max` does."""
    clock = Clock()
    groups = paced(read_bars(file, SYMBOL, "1m"), None, clock)
    with BarPublisher(bootstrap_servers, topic) as publisher:
        return publish_replay(groups, publisher, [], clock)[0]


def sent(
    bootstrap_servers: str, messages: list[bytes], settings: dict[str, Any], topic: str
) -> int:
    """kafka-python alone."""
    with KafkaProducer(bootstrap_servers=bootstrap_servers, **settings) as producer:
        key = SYMBOL.encode()
        for message in messages:
            producer.send(topic, key=key, value=message)
        producer.flush()
    return len(messages)


def report_of(rates: dict[str, list[float]], bars: int) -> dict[str, Any]:
    """The report: medians, the ratio to the faster peer, and what it ran on."""
    medians = {name: round(statistics.median(values)) for name, values in rates.items()}
    peer = max(medians["bare_same_settings"], medians["bare_defaults"])
    return {
        "ratio": round(medians["candlecast"] / peer, 3),
        "least_ratio": LEAST_RATIO,
        "bars_per_s": medians,
        "rounds": {name: [round(value) for value in values] for name, values in rates.items()},
        "bars_a_round": bars,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "kafka_python": kafka.__version__,
        "crc32c_in_c": "crc32c" in sys.modules,
    }


if __name__ == "__main__":
    run_program(main)
