"""What grows with the number of symbols: the window state, and the work of one live minute.

Two parts, for docs/scale.md:

- `shard`: one shard by itself, in this process: bytes a symbol, and CPU time to read its state, put
  one bar of every symbol in, and write it back, as the operator does in each micro-batch
- `stream`: the whole job on two task slots, one minute of all symbols at a time, from publication
  until the last prediction can be read; CPU time is that of the job's tree of processes
"""

import statistics
import time
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer

from bench.report import write
from bench.series import FIRST_OPEN_MS, LOOKBACK, MINUTE_MS, random_walk, symbols
from bench.stage import Stage
from bench.timeline import tree_cpu_s
from jobs.terminal.program import run_program
from stream.state.rings import NewBars
from stream.state.shard import Shard

LATE_BARS: Final = 60
HISTORY_MINUTES: Final = LOOKBACK + 1
WARM_UP_MINUTES: Final = 3
MINUTES: Final = 7
TIMEOUT_S: Final = 900
SHARDS: Final = [25, 250, 2_500, 25_000]
STREAMS: Final = [100, 1_000, 10_000]
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


def measure_stream(stage: Stage, count: int) -> dict[str, float]:
    """Seconds and CPU seconds of a live minute of `count` symbols: medians of MINUTES."""
    walk = random_walk(count, HISTORY_MINUTES + WARM_UP_MINUTES + MINUTES)
    seconds, cpu_s = [], []
    with stage.job(f"scale-{count}", f"bars-{count}") as job:
        for _ in range(HISTORY_MINUTES):
            job.publisher.publish(next(walk))
        job.await_answers((HISTORY_MINUTES - LOOKBACK) * count, TIMEOUT_S)
        for minute in walk:
            before_s = tree_cpu_s(job.program.pid)
            seconds.append(job.answer(minute, TIMEOUT_S))
            cpu_s.append(tree_cpu_s(job.program.pid) - before_s)
    return {
        "symbols": count,
        "seconds": round(statistics.median(seconds[WARM_UP_MINUTES:]), 2),
        "cpu_s": round(statistics.median(cpu_s[WARM_UP_MINUTES:]), 2),
    }


def main(
    shards: Annotated[list[int], typer.Option(help="Symbols of a shard.")] = SHARDS,
    streams: Annotated[list[int], typer.Option(help="Symbols of the job.")] = STREAMS,
) -> None:
    """Measure both parts, print and write them."""
    report = {"shard": [measure_shard(count) for count in shards]}
    with Stage() as stage:
        report["stream"] = [measure_stream(stage, count) for count in streams]
    write(REPORT, report)
    typer.echo(REPORT.read_text())


if __name__ == "__main__":
    run_program(lambda: typer.run(main))
