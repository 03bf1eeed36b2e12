"""Does a burst of news hold prices up? `python -m bench.news`: one job, quiet rounds and rounds in
which 10,000 articles arrive at once, in turn.

The time of a group of bars is from before it is published until its last prediction can be read.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Annotated, Final

import typer

from bench.job import Job
from bench.networks import HORIZONS, LOOKBACK, registry_settings, write_networks
from bench.series import PARTITIONS, random_walk
from bench.timeline import Timeline
from ingest.article import Article, Listed
from ingest.bar import Bar
from ingest.publish import BarPublisher, Publisher, article_record, ensure_topics
from jobs.machine.broker import EmbeddedBroker

BURST: Final = 10_000
SYMBOLS: Final = 10
GROUPS: Final = 10
GAP_S: Final = 3.0
TIMEOUT_S: Final = 300.0
NETWORK: Final = "lstm32"
_NUMBERS: Final = count()


def burst(broker: str) -> None:
    """Send as many articles as a provider lists in months, in one go."""
    now_ms = time.time_ns() // 1_000_000
    texts = ("Bitcoin soars as inflows surge", "Analysts say so. " * 10, "wire", ("BTC",), ())
    with Publisher(broker) as publisher:
        publisher.send(
            article_record(
                "news",
                Article(
                    "wire", str(next(_NUMBERS)), now_ms, *texts, "", "EN", None, now_ms, now_ms
                ),
            )
            for _ in range(BURST)
        )
        publisher.send([article_record("news", Listed("wire", now_ms))])


def send(
    bars: Iterator[tuple[int, list[Bar]]],
    publisher: BarPublisher,
    timeline: Timeline,
    job: Job,
    groups: int,
) -> list[float]:
    """Publish groups of bars, GAP_S apart; seconds until each is predicted."""
    found = []
    for _ in range(groups):
        _, group = next(bars)
        begun = time.monotonic()
        expected = timeline.records + len(group) * len(HORIZONS)
        publisher.publish(group)
        timeline.wait_for(expected, TIMEOUT_S, job.program.check)
        found.append(time.monotonic() - begun)
        time.sleep(max(0.0, GAP_S - found[-1]))
    return found


def main(rounds: Annotated[int, typer.Option(help="Of each kind.")] = 3) -> None:
    """Print how long bars take, quiet and under a burst, and the ratio of the medians."""
    os.environ["CANDLECAST_SENTIMENT__ENABLED"] = "true"
    times: dict[str, list[float]] = {"quiet": [], "burst": []}
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        broker = running.enter_context(EmbeddedBroker(folder / "broker")).bootstrap_servers
        write_networks(folder / "networks")
        ensure_topics(broker, {"bars": PARTITIONS, "news": PARTITIONS})
        registry = registry_settings(folder / "networks", NETWORK)
        job = running.enter_context(Job(broker, "bars", folder / "job", registry))
        timeline = running.enter_context(Timeline(broker, job.predictions_topic, list))
        publisher = running.enter_context(BarPublisher(broker, "bars"))
        bars = random_walk(SYMBOLS, LOOKBACK + 10 + 2 * rounds * GROUPS)
        stream = enumerate(bars)
        for _ in range(LOOKBACK):
            publisher.publish(next(stream)[1])
        send(stream, publisher, timeline, job, 8)
        for _ in range(rounds):
            times["quiet"] += send(stream, publisher, timeline, job, GROUPS)
            burst(broker)
            times["burst"] += send(stream, publisher, timeline, job, GROUPS)
    for name, found in times.items():
        typer.echo(
            f"{name}: median {statistics.median(found):.2f} s, longest {max(found):.2f} s,"
            f" {len(found)} groups of {SYMBOLS} bars"
        )
    ratio = statistics.median(times["burst"]) / statistics.median(times["quiet"])
    typer.echo(f"ratio of the medians: {ratio:.2f}")


if __name__ == "__main__":
    typer.run(main)
