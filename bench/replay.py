"""Replay: how fast a contender works off a topic that lies ready.

Start-up and warm-up are out, everything else is in, from the first message read to the last output
readable. The clock

- of our job starts when all predictions of the warm-up micro-batches can be read on Kafka, and
  stops when the last prediction can be read on Kafka and in Parquet. One more Parquet write than
  Kafka writes lies in between, which counts against us;
- of another contender starts when its warm-up share can be read (with several processes, on each
  partition, so that all are at work), and stops when so many more predictions can be read.
"""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from bench.job import Job
from bench.networks import HORIZONS, LOOKBACK
from bench.series import PARTITIONS
from bench.stage import Stage
from bench.timeline import Timeline
from ingest.publish import ensure_topics
from jobs.machine.processes import Program, wait_until

TIMEOUT_S: Final = 300


@dataclass(frozen=True)
class Replayed:
    """What was measured of one replay: bars of the measured share, its time and its CPU time."""

    bars: int
    seconds: float
    cpu_s: float
    micro_batches: int = 0

    @property
    def rate(self) -> float:
        """Bars a second."""
        return self.bars / self.seconds


@dataclass(frozen=True)
class Share:
    """How many predictions of a contender warm it up, and how many are measured."""

    warm_up: int
    measured: int


@dataclass(frozen=True)
class WrittenBatch:
    """One micro-batch in a table of the warehouse."""

    batch_id: int
    rows: int
    readable_s: float


def replay_job(job: Job, n_symbols: int, minutes: int, warm_up_bars: int) -> Replayed:
    """Start the job on its topic and measure it; micro-batches count once `warm_up_bars` are in."""
    windows = n_symbols * (minutes - LOOKBACK)
    rows = windows * len(HORIZONS)
    table = job.predictions_table
    with job, Timeline(job.broker, job.predictions_topic, lambda: [job.program.pid]) as timeline:
        timeline.wait_for(rows, TIMEOUT_S, job.program.check)
        in_parquet = lambda: sum(b.rows for b in written_batches(table)) >= rows  # noqa: E731
        if not wait_until(in_parquet, TIMEOUT_S, job.program.check):
            raise RuntimeError(f"{table}: not all predictions came")
    batches = written_batches(table)
    warm_rows = warm_up_rows(batches, warm_up_bars * len(HORIZONS))
    start = timeline.reached(warm_rows).at_s
    end = max(timeline.reached(rows).at_s, *(batch.readable_s for batch in batches))
    return Replayed(
        (rows - warm_rows) // len(HORIZONS),
        end - start,
        timeline.cpu_s(start, end),
        len(batches),
    )


def warm_up_rows(batches: Iterable[WrittenBatch], at_least: int) -> int:
    """The rows of the first micro-batches, until they are enough.

    >>> warm_up_rows([WrittenBatch(0, 5, 1.0), WrittenBatch(1, 9, 2.0)], 5)
    5
    """
    rows = 0
    for batch in batches:
        if rows >= at_least:
            break
        rows += batch.rows
    return rows


def written_batches(table: Path) -> list[WrittenBatch]:
    """The micro-batches of a table, in order."""
    found = []
    for folder in table.glob("batch=*"):
        files = list(folder.glob("*.parquet"))
        rows = sum(pq.read_metadata(file).num_rows for file in files)
        batch_id = int(folder.name.rpartition("-")[2])
        found.append(WrittenBatch(batch_id, rows, folder.stat().st_ctime))
    return sorted(found, key=lambda batch: batch.batch_id)


def replay_programs(
    stage: Stage, output: str, programs: Sequence[Program], share: Share
) -> Replayed:
    """Start a contender's processes together, and measure until its share is through."""
    ensure_topics(stage.broker, {output: PARTITIONS})
    with ExitStack() as running:
        for program in programs:
            running.enter_context(program)
        pids = [program.pid for program in programs]
        with Timeline(stage.broker, output, lambda: pids) as timeline:
            timeline.wait_for(share.warm_up, TIMEOUT_S, programs[0].check)
            start = timeline.reached(share.warm_up)
            if len(programs) > 1:
                start = timeline.wait_for_each(share.warm_up // PARTITIONS, TIMEOUT_S)
            until = sum(start.records) + share.measured
            timeline.wait_for(until, TIMEOUT_S, programs[0].check)
    end = timeline.reached(until)
    bars = sum(end.records) - sum(start.records)
    cpu_s = timeline.cpu_s(start.at_s, end.at_s)
    return Replayed(bars, end.at_s - start.at_s, cpu_s)


def new_job(stage: Stage, name: str, topic: str, network: str, cores: tuple[int, ...]) -> Job:
    """The job on a topic, with a folder and output topics of its own."""
    return Job(stage.broker, topic, stage.folder / name, stage.registry(network), cores)
