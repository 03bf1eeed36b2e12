"""Does a burst of news delay predictions? `python -m bench.news`: one job, quiet rounds and rounds
in which 10,000 articles arrive at once, in turn.

The time of a group of bars is from before it is published until its last prediction can be read.
"""

import os
import statistics
import time
from collections.abc import Iterator
from typing import Annotated, Final

import typer

from bench.job import SparkJob
from bench.series import LOOKBACK, PARTITIONS, random_walk
from bench.stage import Stage
from ingest.article import Article, Listed
from ingest.bar import Bar
from ingest.publish import Publisher, article_record, ensure_topics
from jobs.terminal.program import run_program

BURST: Final = 10_000
SYMBOLS: Final = 10
GROUPS: Final = 10
WARM_UP_GROUPS: Final = 8
GAP_S: Final = 3.0
TIMEOUT_S: Final = 300.0


def burst(broker: str, number: int) -> None:
    """Send as many articles as a provider lists in months, in one go."""
    now_ms = time.time_ns() // 1_000_000
    texts = ("Bitcoin soars as inflows surge", "Analysts say so. " * 10, "wire", ("BTC",), ())
    with Publisher(broker) as publisher:
        publisher.send(
            article_record(
                "news",
                Article("wire", f"{number}-{i}", now_ms, *texts, "", "EN", None, now_ms, now_ms),
            )
            for i in range(BURST)
        )
        publisher.send([article_record("news", Listed("wire", now_ms))])


def answered_s(job: SparkJob, walk: Iterator[list[Bar]], groups: int) -> list[float]:
    """Publish groups of bars, GAP_S apart; seconds until each is predicted."""
    found = []
    for _ in range(groups):
        found.append(job.answer(next(walk), TIMEOUT_S))
        time.sleep(max(0.0, GAP_S - found[-1]))
    return found


def main(rounds: Annotated[int, typer.Option(help="Of each kind.")] = 3) -> None:
    """Print how long bars take, quiet and under a burst, and the ratio of the medians."""
    os.environ["CANDLECAST_SENTIMENT__ENABLED"] = "true"
    times: dict[str, list[float]] = {"quiet": [], "burst": []}
    walk = random_walk(SYMBOLS, LOOKBACK + WARM_UP_GROUPS + 2 * rounds * GROUPS)
    with Stage() as stage:
        ensure_topics(stage.broker, {"news": PARTITIONS})
        with stage.job("news", "bars") as job:
            for _ in range(LOOKBACK):
                job.publisher.publish(next(walk))
            answered_s(job, walk, WARM_UP_GROUPS)
            for number in range(rounds):
                times["quiet"] += answered_s(job, walk, GROUPS)
                burst(stage.broker, number)
                times["burst"] += answered_s(job, walk, GROUPS)
    for name, found in times.items():
        typer.echo(
            f"{name}: median {statistics.median(found):.2f} s, longest {max(found):.2f} s,"
            f" {len(found)} groups of {SYMBOLS} bars"
        )
    ratio = statistics.median(times["burst"]) / statistics.median(times["quiet"])
    typer.echo(f"ratio of the medians: {ratio:.2f}")


if __name__ == "__main__":
    run_program(lambda: typer.run(main))
