"""Who takes part in the replay, and with what share of the topic."""

import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from bench.replay import Replayed, Share, replay_programs
from bench.stage import CONTENDERS_PYTHON, Stage
from jobs.machine.processes import PROJECT_DIR, Program

CORES: Final = (0, 1)
# Predictions; one message each. `predict` takes tens of milliseconds, so a hundred will do.
PAPER: Final = Share(warm_up=20, measured=150)
ONE_BY_ONE: Final = Share(warm_up=1_000, measured=15_000)
ONNX_ALONE_S: Final = 4.0


def replay_paper(stage: Stage, name: str, topic: str, network: str) -> Replayed:
    """kafka-python and `keras.Model.predict` a message, one process."""
    weights = str(stage.networks / f"{network}.npz")
    return _replay(stage, name, topic, [(sys.executable, "kafka_keras", weights)], PAPER)


def replay_kafka_onnx(stage: Stage, name: str, topic: str, network: str) -> Replayed:
    """kafka-python and ONNX Runtime a message, one process."""
    graph = str(stage.networks / f"{network}.onnx")
    return _replay(stage, name, topic, [(str(CONTENDERS_PYTHON), "kafka_onnx", graph)], ONE_BY_ONE)


def replay_quix(stage: Stage, name: str, topic: str, network: str) -> Replayed:
    """Quix Streams, RocksDB state and ONNX Runtime, one process a core."""
    graph = str(stage.networks / f"{network}.onnx")
    processes = [
        (str(CONTENDERS_PYTHON), "quix_onnx", graph, str(stage.folder / f"{name}-{core}"))
        for core in CORES
    ]
    return _replay(stage, name, topic, processes, ONE_BY_ONE)


def onnx_alone(stage: Stage, network: str, cores: tuple[int, ...] = CORES) -> float:
    """Windows a second of ONNX Runtime alone."""
    command = [str(CONTENDERS_PYTHON), "-m", "bench.contenders.onnx_alone"]
    command += [str(stage.networks / f"{network}.onnx"), str(ONNX_ALONE_S), *map(str, cores)]
    done = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _replay(
    stage: Stage, name: str, topic: str, processes: Sequence[tuple[str, ...]], share: Share
) -> Replayed:
    programs = [
        Program(
            f"{name}-{number}",
            [python, "-m", f"bench.contenders.{module}", stage.broker, topic, name, *arguments],
            {},
            stage.folder / f"{name}-{number}.log",
        )
        for number, (python, module, *arguments) in enumerate(processes)
    ]
    return replay_programs(stage, name, programs, share)
