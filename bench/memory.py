"""Does the stream's memory grow with what it has read? `python -m bench.memory` publishes two
million bars to the job and samples the memory of its programs meanwhile.

Writes `reports/memory.json`, the curve, and `reports/memory.png`. Ends with 1 where a program took
more in the last third of the replay than GROWTH allows over the second.
"""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import psutil
import typer
from matplotlib.figure import Figure

from bench.job import SparkJob
from bench.report import write
from bench.series import HORIZONS, LOOKBACK, random_walk
from bench.stage import Stage
from bench.timeline import ContenderStuck, tree
from jobs.machine.processes import wait_until
from jobs.terminal.program import run_program

SYMBOLS: Final = 100
SAMPLE_S: Final = 2.0
TIMEOUT_S: Final = 3_600.0
# What a program may take in the last third over what it took in the second.
GROWTH: Final = 1.15
MEGABYTE: Final = 1 << 20
REPORT: Final = Path("reports/memory.json")


@dataclass
class Memory:
    """Samples of the resident megabytes of a stream's programs, and of what it had written."""

    messages: list[int] = field(default_factory=list)
    java_mb: list[int] = field(default_factory=list)
    driver_python_mb: list[int] = field(default_factory=list)
    workers_mb: list[int] = field(default_factory=list)

    def sample(self, pid: int, written: int) -> None:
        """Take a sample of the stream with this process id, which is Java's."""
        taken = dict.fromkeys(("java_mb", "driver_python_mb", "workers_mb"), 0)
        for process in tree(pid):
            try:
                resident = process.memory_info().rss // MEGABYTE
                kind = kind_of(process.pid == pid, " ".join(process.cmdline()))
            except psutil.Error:
                continue  # a worker that has just ended
            if kind is not None:
                taken[kind] += resident
        self.messages.append(written)
        for kind, resident in taken.items():
            getattr(self, kind).append(resident)

    def growth(self) -> dict[str, float]:
        """The most of the last third over the most of the second, by program.

        Java takes what it may before it cleans up: only its highest figures can be compared.
        """
        third = len(self.messages) // 3
        if third == 0:
            raise ContenderStuck(f"{len(self.messages)} samples are too few: replay more")
        return {
            kind: round(max(taken[2 * third :]) / max(taken[third : 2 * third]), 3)
            for kind, taken in vars(self).items()
            if kind != "messages"
        }

    def draw(self, file: Path) -> None:
        """The curve: megabytes over millions of messages."""
        figure = Figure(figsize=(8, 4), layout="constrained")
        axes = figure.subplots()
        for kind in ("java_mb", "driver_python_mb", "workers_mb"):
            label = kind.removesuffix("_mb").replace("_", " ")
            axes.plot([n / 1e6 for n in self.messages], getattr(self, kind), label=label)
        axes.set(xlabel="million predictions written", ylabel="resident MB", ylim=(0, None))
        axes.legend(frameon=False)
        figure.savefig(file, dpi=120)


def kind_of(is_java: bool, command: str) -> str | None:
    """The field of `Memory` that a process of a stream belongs to; None for one in between.

    >>> kind_of(False, "python -m spark.worker_daemon")
    'workers_mb'
    """
    if is_java:
        return "java_mb"
    if "SparkSubmit" in command:
        return None  # a copy of Java that is about to become another program
    if "pyspark.daemon" in command or "worker_daemon" in command:
        return "workers_mb"
    return "driver_python_mb" if "predict_stream.py" in command else None


def publish(job: SparkJob, minutes: int) -> None:
    """Send the whole walk, minute by minute."""
    for minute in random_walk(SYMBOLS, minutes):
        job.publisher.publish(minute)


def replay(minutes: int) -> Memory:
    """The job's memory while it predicts `minutes` of SYMBOLS as they are published.

    Raises ContenderStuck where it takes more than TIMEOUT_S.
    """
    memory = Memory()
    expected = SYMBOLS * (minutes - LOOKBACK) * len(HORIZONS)
    with Stage() as stage, stage.job("memory", "bars") as job:
        threading.Thread(target=publish, args=(job, minutes), daemon=True).start()
        job.wait_for(1, TIMEOUT_S)

        def done() -> bool:
            memory.sample(job.program.pid, job.timeline.records)
            time.sleep(SAMPLE_S)
            return job.timeline.records >= expected

        if not wait_until(done, TIMEOUT_S, job.program.check):
            raise ContenderStuck(f"{job.timeline.records} of {expected} after {TIMEOUT_S:g} s")
    return memory


def main(bars: Annotated[int, typer.Option(help="How many.")] = 2_000_000) -> None:
    """Replay, write the curve, and print what each program took."""
    memory = replay(bars // SYMBOLS)
    growth = memory.growth()
    write(REPORT, {"bars": bars, **vars(memory), "growth": growth})
    memory.draw(REPORT.with_suffix(".png"))
    for kind, found in growth.items():
        taken = getattr(memory, kind)
        typer.echo(f"{kind}: {min(taken)} to {max(taken)}, last third over second {found:.2f}")
    if max(growth.values()) > GROWTH:
        raise typer.Exit(1)


if __name__ == "__main__":
    run_program(lambda: typer.run(main))
