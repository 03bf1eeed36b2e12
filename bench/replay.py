"""Replay: how fast the job predicts what lies ready on a topic.

Start-up and warm-up are out, everything else is in, from the first message read to the last output
readable. The clock starts when all predictions of the warm-up micro-batches can be read on Kafka,
and stops when the last prediction can be read on Kafka and in Parquet. One more Parquet write than
Kafka writes lies in between, which counts against us.
"""

from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from bench.job import SparkJob
from bench.series import HORIZONS, LOOKBACK
from bench.timeline import ContenderStuck
from jobs.machine.processes import wait_until
from store.files import BATCH

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


def replay_job(job: SparkJob, n_symbols: int, minutes: int, warm_up_bars: int) -> Replayed:
    """Start the job on its topic and measure it; micro-batches count once `warm_up_bars` are in."""
    rows = n_symbols * (minutes - LOOKBACK) * len(HORIZONS)
    table = job.predictions_table
    with job:
        job.wait_for(rows, TIMEOUT_S)
        in_parquet = lambda: sum(n for n, _ in written_batches(table)) >= rows  # noqa: E731
        if not wait_until(in_parquet, TIMEOUT_S, job.program.check):
            raise ContenderStuck(f"{table} did not hold all predictions after {TIMEOUT_S} s")
    batches = written_batches(table)
    least = min(rows, warm_up_bars * len(HORIZONS))
    warm_rows = next(total for total in accumulate(n for n, _ in batches) if total >= least)
    timeline = job.timeline
    start = timeline.reached(warm_rows).at_s
    end = max(timeline.reached(rows).at_s, *(readable_s for _, readable_s in batches))
    bars = (rows - warm_rows) // len(HORIZONS)
    return Replayed(bars, end - start, timeline.cpu_s(start, end), len(batches))


def cold_start_s(job: SparkJob) -> float:
    """Seconds from `spark-submit` to the first prediction readable; the bars lie on the topic."""
    with job:
        job.wait_for(1, TIMEOUT_S)
        return job.timeline.reached(1).at_s - job.started_s


def written_batches(table: Path) -> list[tuple[int, float]]:
    """The rows of each micro-batch in a table, in order, and the second they could be read at."""
    folders = table.glob(f"{BATCH}*")
    return [
        (
            sum(pq.read_metadata(file).num_rows for file in folder.glob("*.parquet")),
            folder.stat().st_ctime,
        )
        for folder in sorted(folders, key=lambda folder: int(folder.name.rpartition("-")[2]))
    ]
