"""Does the stream's memory grow with what it has read? `python -m bench.memory`: a replay of two
million bars through the job, beside which its programs' memory is looked at.

Writes `reports/memory.json`, the curve, and `reports/memory.png`. Ends with 1 where a program took
more in the last third of the replay than GROWTH allows over the second.
"""

import json
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import psutil
import typer
from matplotlib.figure import Figure

from bench.job import Job
from bench.networks import HORIZONS, LOOKBACK, registry_settings, write_networks
from bench.series import PARTITIONS, random_walk
from bench.timeline import ContenderStuck, Timeline
from ingest.publish import BarPublisher, ensure_topics
from jobs.machine.broker import EmbeddedBroker
from jobs.machine.processes import Program

SYMBOLS: Final = 100
SAMPLE_S: Final = 2.0
TIMEOUT_S: Final = 3_600.0
# What a program may take in the last third over what it took in the second.
GROWTH: Final = 1.15
MEGABYTE: Final = 1 << 20
REPORT: Final = Path("reports/memory.json")


@dataclass
class Memory:
    """Resident megabytes of the job's programs, each time with what it had worked off by then."""

    messages: list[int] = field(default_factory=list)
    java_mb: list[int] = field(default_factory=list)
    driver_python_mb: list[int] = field(default_factory=list)
    workers_mb: list[int] = field(default_factory=list)

    def sample(self, stream: Program, written: int) -> None:
        """Look once."""
        taken = dict.fromkeys(("java_mb", "driver_python_mb", "workers_mb"), 0)
        java = psutil.Process(stream.pid)
        for process in (java, *java.children(recursive=True)):
            try:
                resident = process.memory_info().rss // MEGABYTE
                command = " ".join(process.cmdline())
            except psutil.Error:
                continue  # a worker that has just ended
            if process == java:
                taken["java_mb"] += resident
            elif "SparkSubmit" in command:
                continue  # a copy of Java that is about to become another program
            elif "pyspark.daemon" in command or "worker_daemon" in command:
                taken["workers_mb"] += resident
            elif "predict_stream.py" in command:
                taken["driver_python_mb"] += resident
        self.messages.append(written)
        for kind, resident in taken.items():
            getattr(self, kind).append(resident)

    def growth(self) -> dict[str, float]:
        """The most of the last third over the most of the second, by program.

        Java takes what it may before it cleans up: only its highest figures can be compared.
        """
        third = len(self.messages) // 3
        if third == 0:
            raise ContenderStuck(
                f"{len(self.messages)} samples of the memory are too few: replay more"
            )
        return {
            kind: round(max(taken[2 * third :]) / max(taken[third : 2 * third]), 3)
            for kind, taken in vars(self).items()
            if kind != "messages"
        }

    def draw(self, file: Path) -> None:
        """The curve: megabytes over millions of what was worked off."""
        figure = Figure(figsize=(8, 4), layout="constrained")
        axes = figure.subplots()
        for kind in ("java_mb", "driver_python_mb", "workers_mb"):
            said = kind.removesuffix("_mb").replace("_", " ")
            axes.plot([n / 1e6 for n in self.messages], getattr(self, kind), label=said)
        axes.set(xlabel="million predictions written", ylabel="resident MB", ylim=(0, None))
        axes.legend(frameon=False)
        figure.savefig(file, dpi=120)


def publish(broker: str, topic: str, minutes: int) -> None:
    """Send the whole walk, minute by minute."""
    with BarPublisher(broker, topic) as publisher:
        for minute in random_walk(SYMBOLS, minutes):
            publisher.publish(minute)


def replay(minutes: int) -> Memory:
    """The job's memory while it works off `minutes` of SYMBOLS as they are published."""
    memory = Memory()
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="memory-")))
        broker = running.enter_context(EmbeddedBroker(folder / "broker")).bootstrap_servers
        write_networks(folder / "networks")
        ensure_topics(broker, {"bars": PARTITIONS})
        registry = registry_settings(folder / "networks", "lstm32")
        job = running.enter_context(Job(broker, "bars", folder / "job", registry))
        timeline = running.enter_context(Timeline(broker, job.predictions_topic, list))
        arguments = (broker, "bars", minutes)
        threading.Thread(target=publish, args=arguments, daemon=True).start()
        timeline.wait_for(1, TIMEOUT_S, job.program.check)
        expected = SYMBOLS * (minutes - LOOKBACK) * len(HORIZONS)
        watch(memory, job, timeline, expected)
    return memory


def watch(memory: Memory, job: Job, timeline: Timeline, expected: int) -> None:
    """Look every SAMPLE_S until the topic holds `expected`; in vain it raises ContenderStuck."""
    deadline = time.monotonic() + TIMEOUT_S
    while timeline.records < expected:
        job.program.check()
        memory.sample(job.program, timeline.records)
        if time.monotonic() > deadline:
            raise ContenderStuck(f"{timeline.records} of {expected} records after {TIMEOUT_S:g} s")
        time.sleep(SAMPLE_S)


def main(bars: Annotated[int, typer.Option(help="How many.")] = 2_000_000) -> None:
    """Replay, write the curve, and print what each program took."""
    memory = replay(bars // SYMBOLS)
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps({"bars": bars, **vars(memory), "growth": memory.growth()}) + "\n")
    memory.draw(REPORT.with_suffix(".png"))
    for kind, growth in memory.growth().items():
        taken = getattr(memory, kind)
        typer.echo(f"{kind}: {min(taken)} to {max(taken)}, last third over second {growth:.2f}")
    if max(memory.growth().values()) > GROWTH:
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
