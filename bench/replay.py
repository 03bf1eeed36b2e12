"""Replay: how fast a contender works off a topic that lies ready.

The clock of the stream starts when the predictions of the warm-up micro-batches can all be read
on Kafka, and stops when the last prediction can be read on Kafka and in Parquet. Start-up is out,
reading, parsing, state, features, inference and both sinks are in, and so is one more Parquet
write than Kafka writes, which counts against us.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from bench.job import Job
from bench.networks import HORIZONS, LOOKBACK
from bench.stage import Stage
from bench.timeline import Timeline
from jobs.processes import wait_until

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
class WrittenBatch:
    """One micro-batch in a table of the warehouse."""

    batch_id: int
    rows: int
    readable_s: float


def replay_job(job: Job, n_symbols: int, minutes: int, warm_up_bars: int) -> Replayed:
    """Start the job on its topic and measure it; micro-batches count once `warm_up_bars` are in."""
    windows = n_symbols * (minutes - LOOKBACK)
    rows = windows * len(HORIZONS)
    table = job.folder / "warehouse/predictions"
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


def new_job(stage: Stage, name: str, topic: str, network: str, cores: tuple[int, ...]) -> Job:
    """The job on a topic, with a folder and output topics of its own."""
    return Job(stage.broker, topic, stage.folder / name, stage.registry(network), cores)
