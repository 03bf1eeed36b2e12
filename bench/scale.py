"""What grows with the number of symbols: the window state, and the work of one live minute.

Two parts, for docs/scale.md:

- `shard`: one shard by itself, in this process: bytes a symbol, and CPU time to read its state, put
  one bar of every symbol in, and write it back, as the operator does in each micro-batch
- `stream`: the whole job on two task slots, one minute of all symbols at a time, from publication
  until the last prediction can be read; CPU time is that of the job's tree of processes
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np

from bench.cpu import tree_cpu_s
from bench.job import Job
from bench.networks import HORIZONS, LOOKBACK, registry_settings, write_networks
from bench.series import FIRST_OPEN_MS, MINUTE_MS, PARTITIONS, random_walk, symbols
from bench.timeline import Timeline
from ingest.publish import BarPublisher, ensure_topics
from jobs.machine.broker import EmbeddedBroker
from stream.state.rings import NewBars
from stream.state.shard import Shard

LATE_BARS: Final = 60
HISTORY_MINUTES: Final = LOOKBACK + 1
WARM_UP_MINUTES: Final = 3
MINUTES: Final = 7
TIMEOUT_S: Final = 900
REPORT: Final = Path("reports/scale.json")


def one_minute(names: list[str], minute: int) -> NewBars:
    """A bar of every symbol."""
    count = len(names)
    values = np.abs(np.random.default_rng(minute).normal(100, 1, (count, 6)))
    slots = np.full(count, FIRST_OPEN_MS // MINUTE_MS + minute)
    closed = (slots + 1) * MINUTE_MS
    return NewBars(names, np.arange(count), slots, values, closed, int(closed[0]))


def measure_shard(count: int) -> dict[str, float]:
    """Bytes and microseconds a symbol of a shard of `count` symbols."""
    names = symbols(count)
    settings = (LOOKBACK, LATE_BARS, 1)
    shard = Shard(*settings)
    for minute in range(HISTORY_MINUTES):
        shard.of("1m").update(one_minute(names, minute))
    state = shard.to_bytes()
    spent = []
    for minute in range(HISTORY_MINUTES, HISTORY_MINUTES + MINUTES):
        new = one_minute(names, minute)
        started = time.process_time()
        shard = Shard.from_bytes(state, *settings)
        shard.of("1m").update(new)
        state = shard.to_bytes()
        spent.append(time.process_time() - started)
    return {
        "symbols": count,
        "bytes_a_symbol": round(len(state) / count, 1),
        "cpu_us_a_symbol": round(1e6 * statistics.median(spent) / count, 1),
    }


def measure_stream(count: int, broker: str, registry: dict[str, str]) -> dict[str, float]:
    """Seconds and CPU seconds of a live minute of `count` symbols: medians of MINUTES."""
    topic = f"bars-{count}"
    ensure_topics(broker, {topic: PARTITIONS})
    bars = random_walk(count, HISTORY_MINUTES + WARM_UP_MINUTES + MINUTES)
    with tempfile.TemporaryDirectory(prefix=f"scale-{count}-") as folder:
        job = Job(broker, topic, Path(folder), registry)
        with BarPublisher(broker, topic) as publisher, job:
            for _ in range(HISTORY_MINUTES):
                publisher.publish(next(bars))
            pids = [job.program.pid]
            with Timeline(broker, job.predictions_topic, lambda: pids) as timeline:
                expected = (HISTORY_MINUTES - LOOKBACK) * count * len(HORIZONS)
                timeline.wait_for(expected, TIMEOUT_S, job.program.check)
                taken = []
                for minute in bars:
                    started, cpu_s = time.perf_counter(), tree_cpu_s(job.program.pid)
                    publisher.publish(minute)
                    expected += count * len(HORIZONS)
                    timeline.wait_for(expected, TIMEOUT_S, job.program.check)
                    spent_s = tree_cpu_s(job.program.pid) - cpu_s
                    taken.append((time.perf_counter() - started, spent_s))
    walls, cpus = zip(*taken[WARM_UP_MINUTES:], strict=True)
    return {
        "symbols": count,
        "seconds": round(statistics.median(walls), 2),
        "cpu_s": round(statistics.median(cpus), 2),
    }


def main() -> None:
    """Measure both parts and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, nargs="*", default=[25, 250, 2_500, 25_000])
    parser.add_argument("--streams", type=int, nargs="*", default=[100, 1_000, 10_000])
    asked = parser.parse_args()
    report = json.loads(REPORT.read_text()) if REPORT.exists() else {"shard": [], "stream": []}
    if asked.shards:
        report["shard"] = [measure_shard(count) for count in asked.shards]
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        write_networks(Path(folder) / "networks")
        registry = registry_settings(Path(folder) / "networks", "lstm32")
        with EmbeddedBroker(Path(folder) / "broker") as broker:
            for count in asked.streams:
                kept = [row for row in report["stream"] if row["symbols"] != count]
                found = measure_stream(count, broker.bootstrap_servers, registry)
                report["stream"] = sorted([*kept, found], key=lambda row: row["symbols"])
                print(found, flush=True)
                REPORT.write_text(json.dumps(report, indent=2) + "\n")
    REPORT.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
