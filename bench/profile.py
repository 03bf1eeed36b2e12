"""Where a replay's CPU time goes: a table by stage, and a flame graph of the Python workers.

    python -m bench.profile [--network lstm32] [--symbols 100] [--minutes 4000] [--out FOLDER]

The job runs as in `bench.replay`. Once the first micro-batches are through, until the last
prediction can be read, py-spy samples the Python workers, Java's flight recorder the JVM, and
/proc says how much CPU time each thread and process took: the samples only share that out.
Writes FOLDER/stages.txt, FOLDER/jvm.jfr (for JDK Mission Control) and FOLDER/flame-N.svg, one
for each daemon that Spark forks workers from.
"""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from bench.cpu import command_line, thread_cpu_s, tree, tree_cpu_s
from bench.job import Job
from bench.networks import HORIZONS, LOOKBACK, NETWORKS
from bench.samples import jvm_stages, python_stages, write_table
from bench.stage import CONTENDERS_PYTHON, Stage
from bench.timeline import Timeline
from jobs.machine.processes import wait_until

TIMEOUT_S: Final = 600
SAMPLES_PER_S: Final = 100
DEEP: Final = "-XX:FlightRecorderOptions=stackdepth=256"


def main() -> int:
    """Run one replay under both profilers and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, default="lstm32")
    parser.add_argument("--symbols", type=int, default=100)
    parser.add_argument("--minutes", type=int, default=4000)
    parser.add_argument("--out", type=Path, default=Path("reports/profile"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with Stage() as stage:
        topic = stage.bars_topic(args.symbols, args.minutes)
        recording = (args.out / "jvm.jfr").resolve()
        options = f"-XX:StartFlightRecording=filename={recording},settings=profile {DEEP}"
        job = Job(
            stage.broker,
            topic,
            stage.folder / "profile",
            stage.registry(args.network),
            spark_conf={"spark.driver.defaultJavaOptions": options},
        )
        profile(job, args.symbols * (args.minutes - LOOKBACK), args.out)
    return 0


def profile(job: Job, windows: int, out: Path) -> None:
    """Replay `windows` windows and a warm-up, and write the table for all after the warm-up."""
    rows = windows * len(HORIZONS)
    with job, Timeline(job.broker, job.predictions_topic, lambda: [job.program.pid]) as timeline:
        timeline.wait_for(1, TIMEOUT_S, job.program.check)
        wait_until(lambda: not growing(timeline), TIMEOUT_S, job.program.check)
        before, started_s = timeline.records, time.time()
        with cpu_of(job.program.pid) as cpu, py_spy(job.program.pid, out):
            timeline.wait_for(rows, TIMEOUT_S, job.program.check)
        ended_s = time.time()
    bars = (rows - before) // len(HORIZONS)
    stages = jvm_stages(out / "jvm.jfr", started_s, ended_s, cpu)
    stages |= python_stages(out.glob("flame-*.svg"), cpu)
    table = write_table(stages, bars, ended_s - started_s)
    (out / "stages.txt").write_text(table)
    print(table)


def growing(timeline: Timeline) -> bool:
    """Whether records came within half a second."""
    before = timeline.records
    time.sleep(0.5)
    return timeline.records > before


@contextmanager
def cpu_of(root: int) -> Iterator[dict[str, float]]:
    """Collect the CPU seconds that pass within the block: JVM by thread, Python by process kind."""
    jvm = next(pid for pid in tree(root) if "java" in command_line(pid).split(" ")[0])
    seconds: dict[str, float] = {}
    before = cpu_by_part(root, jvm)
    yield seconds
    for part, spent in cpu_by_part(root, jvm).items():
        seconds[part] = spent - before.get(part, 0.0)


def cpu_by_part(root: int, jvm: int) -> dict[str, float]:
    """CPU seconds: `jvm NAME` for the JVM's threads, `workers` and `driver` for Python."""
    found = {f"jvm {name}": s for name, s in thread_cpu_s(jvm).items()}
    daemons = python_daemons(root)
    workers = sum(map(tree_cpu_s, daemons))
    whole_jvm = sum(thread_cpu_s(jvm).values())
    found["workers"] = workers
    found["driver"] = tree_cpu_s(root) - workers - whole_jvm
    return found


def python_daemons(root: int) -> list[int]:
    """The processes that Spark forks its Python workers from."""
    pids = list(tree(root))
    daemons = {pid for pid in pids if "daemon" in command_line(pid)}
    forked = {pid for daemon in daemons for pid in tree(daemon) if pid != daemon}
    return sorted(daemons - forked)


@contextmanager
def py_spy(root: int, out: Path) -> Iterator[None]:
    """Sample the Python workers while the block runs, and write a flame graph for each daemon.

    Spark keeps one daemon for the stateful operator's workers and another for the UDF's.
    """
    with ExitStack() as spies:
        for number, daemon in enumerate(python_daemons(root)):
            graph = out / f"flame-{number}.svg"
            command = [str(CONTENDERS_PYTHON.parent / "py-spy"), "record", "--subprocesses"]
            command += ["--nonblocking", "--rate", str(SAMPLES_PER_S), "--pid", str(daemon)]
            command += ["--format", "flamegraph", "--output", str(graph)]
            command += ["--duration", "unlimited"]
            log = spies.enter_context(graph.with_suffix(".log").open("wb"))
            spy = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
            spies.callback(spy.wait, 60)
            spies.callback(spy.send_signal, signal.SIGINT)
        yield


if __name__ == "__main__":
    sys.exit(main())
