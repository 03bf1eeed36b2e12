"""`candlecast run` keeps the stream alive, and is killed itself: nothing of it may live on."""

import os
import signal
import time
from random import Random
from typing import Final

import psutil

from conf.errors import AlreadyRunning
from jobs.machine.processes import Program, candlecast, wait_until
from tests.chaos.faults import Strike, await_new_bar
from tests.chaos.victims import in_role, processes
from tests.chaos.world import SETTLE_S, Unrecovered, World

SUPERVISOR: Final = "supervisor"
HANG_UP: Final = "terminal closed (SIGHUP)"
KEPT: Final = "stream,score,retrain"
# A strike falls anywhere between the start of the first program and well after the first row.
LONGEST_LIFE_S: Final = 25.0
# Children end at once with a killed supervisor, in order with one that is told to end.
GONE_TIMEOUT_S: Final = 30.0


def strike_supervisor(world: World, kills: int, random: Random) -> list[Strike]:
    """Kill `candlecast run` so often, hang up once more, and then let it do its work.

    Raises Unrecovered where a child outlives it, or two run at once.
    """
    world.keep_stream = False
    world.stream.program.stop()
    world.stream.program.forget()
    strikes = []
    for how in (*[signal.SIGKILL] * kills, signal.SIGHUP):
        run = supervisor(world).start()
        struck_at = time.monotonic() + random.uniform(1.0, LONGEST_LIFE_S)
        world.wait("the next blow", lambda at=struck_at: time.monotonic() >= at)
        run.check()
        os.kill(run.pid, how)
        require_gone(world, run)
        took_s = time.monotonic() - struck_at
        name, killed = (SUPERVISOR, 1) if how == signal.SIGKILL else (HANG_UP, 0)
        world.killed[name] += killed
        strikes.append(Strike(name, killed, took_s))
    last = supervisor(world)
    with last:
        await_new_bar(world, world.published_when_up())
        require_one(world)
    world.keep_stream = True
    return strikes


def supervisor(world: World) -> Program:
    """`candlecast run`, without ingest, which the world keeps."""
    return candlecast("run", ["--only", KEPT], world.env, world.folder / "run.log")


def require_gone(world: World, run: Program) -> None:
    """Wait until nothing of it lives.

    Raises Unrecovered where something does.
    """
    if not wait_until(lambda: not left_of_it(world, run), GONE_TIMEOUT_S, world.look):
        raise Unrecovered(f"{left_of_it(world, run)} outlived the supervisor")


def left_of_it(world: World, run: Program) -> list[psutil.Process]:
    """What the supervisor has started, and itself, as far as it lives."""
    if run.running:
        return [psutil.Process(run.pid)]
    found, of_worker = [], (*in_role(world, "executor"), *in_role(world, "Python worker"))
    for process in processes(world.disk.folder):
        try:
            own = os.getpgid(process.pid) in world.own_groups() and process not in of_worker
            if not own and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def require_one(world: World) -> None:
    """A second supervisor gives way to the first.

    Raises Unrecovered where it does not.
    """
    second = supervisor(world)
    with second:
        wait_until(lambda: not second.running, SETTLE_S, world.look)
        if second.exit_code != AlreadyRunning.exit_code:
            raise Unrecovered(f"a second supervisor ended with {second.exit_code}")
