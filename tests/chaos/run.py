"""One run of chaos: strike until enough has died, settle, count; then the faults for a person."""

import logging
import time
from pathlib import Path
from random import Random
from typing import Final

import psutil

from conf.errors import CandlecastError
from jobs.machine.processes import wait_until
from tests.chaos.balance import balance
from tests.chaos.errands import all_do_their_work
from tests.chaos.faults import BLOODLESS, Strike, cut_checkpoint, deck, fill_disk, strike
from tests.chaos.report import ChaosReport
from tests.chaos.state import Reader, unreadable
from tests.chaos.supervisor import strike_supervisor
from tests.chaos.victims import processes
from tests.chaos.world import Unrecovered, World

log = logging.getLogger(__name__)

# What is kept of a run's time for the supervisor, settling, counting and the faults for a person.
RESERVE_S: Final = 240.0
ORPHANS_TIMEOUT_S: Final = 30.0
# Of the kills of a run, those of the supervisor: each costs a start of the stream.
SUPERVISOR_KILLS: Final = 3


def run_chaos(world: World, kills: int, seed: int, deadline: float) -> ChaosReport:
    """Kill `kills` processes, or as many as there is time for until `deadline` (monotonic s)."""
    started_at, random = time.monotonic(), Random(seed)
    report = ChaosReport(seed, world.master)
    try:
        with world:
            report.disk = world.disk.kind
            with Reader(world) as reader:
                strike_often(world, report, kills - SUPERVISOR_KILLS, random, deadline - RESERVE_S)
                for done in strike_supervisor(world, SUPERVISOR_KILLS, random):
                    note(report, done)
            report.answers, report.misread = reader.answers, reader.failures
            note(report, fill_disk(world))
            world.settle()
            all_do_their_work(world)
            report.before_cut = balance(world, compacted=True)
            world.go_on()
            note(report, cut_checkpoint(world))
            world.settle()
            report.after_cut = balance(world, through_views=True)
            report.unreadable = unreadable(world.folder)
    except (Unrecovered, CandlecastError, AssertionError) as error:
        log.exception("the run ended early")
        report.failure = f"{type(error).__name__}: {error}"
    report.killed = dict(world.killed)
    report.left_over = end_left_overs(world.disk.folder)
    report.seconds = time.monotonic() - started_at
    return report


def strike_often(
    world: World, report: ChaosReport, kills: int, random: Random, deadline: float
) -> None:
    """Strike with whatever the deck gives until `kills` processes have died or time is up."""
    world.wait("the first micro-batch", lambda: world.written() > 0)
    left_out = () if world.has_executors else ("executor",)
    cards: list[str] = []
    while report.kills < kills and time.monotonic() < deadline:
        cards = cards or deck(random, left_out)
        done = strike(world, cards.pop(), random)
        if done.kills or done.fault in BLOODLESS:  # else nobody played that part at the moment
            note(report, done)


def note(report: ChaosReport, done: Strike) -> None:
    """Keep a strike, and say so."""
    report.strikes.append(done)
    log.info("%3d kills: %s, recovered in %.1f s", report.kills, done.fault, done.recovered_in_s)


def end_left_overs(folder: Path) -> int:
    """Processes that have outlived their world: given time to notice, counted, and ended."""
    wait_until(lambda: not processes(folder), ORPHANS_TIMEOUT_S)
    left = processes(folder)
    for process in left:
        log.error("left over: %s", process)
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    return len(left)
