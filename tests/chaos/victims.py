"""The processes of a world, by the part they play, and `kill -9` for them."""

import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Final

import psutil

from tests.chaos.world import World

MARK: Final = "CANDLECAST_WAREHOUSE__DIR"
ROLES: Final[dict[str, Callable[[str], bool]]] = {
    "driver JVM": lambda command: "deploy.SparkSubmit" in command,
    "driver Python": lambda command: (
        "SparkSubmit" not in command
        and "predict_stream.py" in command
        and "spark-submit" not in command
    ),
    "executor": lambda command: "CoarseGrainedExecutorBackend" in command,
    "Python worker": lambda command: "pyspark.daemon" in command or "worker_daemon" in command,
    "ingest": lambda command: "jobs.cli ingest" in command,
}


def processes(folder: Path) -> list[psutil.Process]:
    """Everything that was started for the warehouse in `folder`, also what lost its parent."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(folder):
                found.append(process)
        except psutil.Error:
            continue  # another user's, or gone by now
    return found


def in_role(world: World, role: str) -> list[psutil.Process]:
    """The processes of `world` that play `role` at this moment, oldest first."""
    plays = ROLES[role]
    found = []
    for process in processes(world.disk.folder):
        try:
            if plays(" ".join(process.cmdline())) and process.status() != psutil.STATUS_ZOMBIE:
                found.append((process.create_time(), process.pid, process))
        except psutil.Error:
            continue
    return [process for *_, process in sorted(found)]


def kill(world: World, role: str, random: Random) -> int:
    """`kill -9` one process that plays `role`; 0 where there is none, else 1."""
    if role == "broker":
        killed = world.kill_broker()
    else:
        candidates = in_role(world, role)
        killed = kill_all([random.choice(candidates)]) if candidates else 0
    world.killed[role] += killed
    return killed


def kill_all(victims: Iterable[psutil.Process]) -> int:
    """`kill -9` for each of `victims` that still lives; how many those were."""
    killed = 0
    for victim in victims:
        try:
            os.kill(victim.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        killed += 1
    return killed
