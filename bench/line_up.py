"""Who is compared with the job in a replay, and over what share of the topic."""

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.job import CORES
from bench.replay import TIMEOUT_S, Replayed
from bench.series import PARTITIONS
from bench.stage import CONTENDERS_PYTHON, NETWORK, Stage, run_contender
from bench.timeline import Timeline
from ingest.topics import ensure_topics
from jobs.machine.processes import Program

ONNX_ALONE_S: Final = "4"


@dataclass(frozen=True)
class Contender:
    """A module of `bench.contenders`, its processes, and its share of the topic in predictions.

    The clock starts when the warm-up can be read (with several processes, on each partition, so
    that all are at work), and stops when `measured` more predictions can be read.
    """

    module: str
    python: Path
    network_suffix: str
    warm_up: int = 1_000
    measured: int = 15_000
    processes: int = 1


OTHERS: Final = {
    "kafka_onnx": Contender("kafka_python", CONTENDERS_PYTHON, ".onnx"),
    # `predict` takes tens of milliseconds, so a hundred will do.
    "paper": Contender("kafka_python", Path(sys.executable), ".npz", warm_up=20, measured=150),
    "quix": Contender("quix_onnx", CONTENDERS_PYTHON, ".onnx", processes=len(CORES)),
}


def replay_other(stage: Stage, contender: Contender, topic: str, output: str) -> Replayed:
    """Start a contender's processes together, and measure until its share is through."""
    ensure_topics(stage.broker, {output: PARTITIONS})
    with ExitStack() as running:
        programs = [
            running.enter_context(_program(stage, contender, topic, output, number))
            for number in range(contender.processes)
        ]

        def check() -> None:
            for program in programs:
                program.check()

        timeline = Timeline(stage.broker, output, [program.pid for program in programs])
        running.enter_context(timeline)
        start = timeline.wait_for(contender.warm_up, TIMEOUT_S, check)
        if contender.processes > 1:
            start = timeline.wait_for(contender.warm_up // PARTITIONS, TIMEOUT_S, check, of=min)
        end = timeline.wait_for(sum(start.records) + contender.measured, TIMEOUT_S, check)
    cpu_s = timeline.cpu_s(start.at_s, end.at_s)
    return Replayed(sum(end.records) - sum(start.records), end.at_s - start.at_s, cpu_s)


def _program(stage: Stage, contender: Contender, topic: str, output: str, number: int) -> Program:
    name = f"{output}-{number}"
    network = (stage.networks / NETWORK).with_suffix(contender.network_suffix)
    command = [str(contender.python), "-m", f"bench.contenders.{contender.module}"]
    command += [stage.broker, topic, output, str(network), str(stage.folder / name)]
    return Program(name, command, {}, stage.folder / f"{name}.log")


def onnx_alone(stage: Stage, network: str) -> float:
    """Windows a second of ONNX Runtime alone, one process a core."""
    graph = str(stage.networks / f"{network}.onnx")
    return float(run_contender("onnx_alone", graph, ONNX_ALONE_S, *map(str, CORES)))
