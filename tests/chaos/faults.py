"""What is done to a world, one strike after the other, and how it recovers from each."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from conf.errors import CandlecastError, DataLoss, MissingPrerequisite, Stop
from jobs.machine.processes import wait_until
from stream.query import checkpoint_dir
from tests.chaos.errands import GOOD_ENDS, Errand, volley
from tests.chaos.registry import FAULTS as REGISTRY_FAULTS
from tests.chaos.registry import kill_in_trouble, trouble
from tests.chaos.small_disk import FILE_LIMIT
from tests.chaos.victims import ROLES, in_role, kill, kill_all
from tests.chaos.world import SETTLE_S, Unrecovered, World

VICTIMS: Final = (*ROLES, "broker")
VOLLEY: Final = "programs beside the stream"
AT_ONCE: Final = "several at once"
WORKERS: Final = "every Python worker"
IN_A_ROW: Final = "again while recovering"
RESTART: Final = "broker restart"
FULL_DISK: Final = "disk full"
CUT_CHECKPOINT: Final = "checkpoint cut short"
# How often each is drawn: a new driver costs as much time as ten new Python workers.
SHARES: Final = {
    VOLLEY: 12,
    "driver JVM": 1,
    "driver Python": 1,
    "executor": 3,
    "Python worker": 2,
    WORKERS: 3,
    "broker": 1,
    "ingest": 1,
    AT_ONCE: 1,
    IN_A_ROW: 2,
    RESTART: 1,
    **dict.fromkeys(REGISTRY_FAULTS, 1),
}
# Nothing dies by these, so that they count without a kill.
BLOODLESS: Final = (RESTART, *REGISTRY_FAULTS)
BLOWS_IN_A_ROW: Final = 5
# A strike falls anywhere in a micro-batch, or just after one.
LONGEST_CALM_S: Final = 1.5
LONGEST_BREATH_S: Final = 4.0


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault: what it was, how many processes it killed, and when work had gone on after it."""

    fault: str
    kills: int
    recovered_in_s: float


def deck(random: Random, left_out: Collection[str] = ()) -> list[str]:
    """One round of faults in a random order, each at least once."""
    cards = [f for f, share in SHARES.items() if f not in left_out for _ in range(share)]
    random.shuffle(cards)
    return cards


def strike(world: World, fault: str, random: Random) -> Strike:
    """Do `fault` to `world` after a calm moment, and wait until a new bar has been written.

    Raises Unrecovered where that takes too long, Stop where a program says that it needs a person.
    """
    calm_until = time.monotonic() + random.uniform(0, LONGEST_CALM_S)
    world.wait("a calm moment", lambda: time.monotonic() >= calm_until)
    if fault in REGISTRY_FAULTS:
        return strike_registry(world, fault, random)
    published = world.published_when_up()
    kills = kill_for(world, fault, random)
    struck_at = time.monotonic()
    for _ in range(BLOWS_IN_A_ROW - 1 if fault == IN_A_ROW else 0):
        again_at = time.monotonic() + random.uniform(0, LONGEST_BREATH_S)
        world.wait("the next blow", lambda again_at=again_at: time.monotonic() >= again_at)
        published = world.published() or published
        kills += kill(world, random.choice(VICTIMS), random)
        struck_at = time.monotonic()
    if fault in ("ingest", VOLLEY):  # what it sent between the count and its end is no recovery
        published = world.published_when_up()
    await_new_bar(world, published)
    return Strike(fault, kills, time.monotonic() - struck_at)


def kill_for(world: World, fault: str, random: Random) -> int:
    """Kill what `fault` says, and return how many processes that were."""
    if fault == RESTART:
        world.restart_broker()
        return 0
    if fault == VOLLEY:
        return volley(world, random)
    if fault == WORKERS:
        killed = kill_all(in_role(world, "Python worker"))
        world.killed["Python worker"] += killed
        return killed
    if fault == AT_ONCE:
        roles = random.sample(VICTIMS, random.choice((2, 3, len(VICTIMS))))
        return sum(kill(world, role, random) for role in roles)
    return kill(world, random.choice(VICTIMS) if fault == IN_A_ROW else fault, random)


def strike_registry(world: World, fault: str, random: Random) -> Strike:
    """Let the registry be in trouble; bars must be predicted meanwhile, and afterwards."""
    begun_at = time.monotonic()
    with trouble(world, fault):
        kills = kill_in_trouble(world, random)
        await_new_bar(world, world.published_when_up())
    await_new_bar(world, world.published_when_up())
    return Strike(fault, kills, time.monotonic() - begun_at)


def await_new_bar(world: World, published: int) -> None:
    """Wait until a bar beyond the first `published` of the topic stands in the tables."""
    world.wait("the next micro-batch", lambda: world.written() > published)


def fill_disk(world: World) -> Strike:
    """Fill the warehouse's disk; the stream must say so and stop; then make room.

    Raises Unrecovered where it goes on, or stops for another reason.
    """
    roles = ("driver JVM", "executor")
    world.disk.fill(process for role in roles for process in in_role(world, role))
    stopped = await_stop(world, MissingPrerequisite)
    assert "disk is full" in str(stopped), stopped
    for name in ("score", "retrain", "compaction"):
        find_it_full(world, name)
    return mended(world, FULL_DISK, world.disk.free)


def find_it_full(world: World, name: str) -> None:
    """Let a program meet the full disk: it says so in a line, or has nothing to write.

    Raises Unrecovered where it ends otherwise.
    """
    errand = Errand.start(world, name)
    if not world.disk.is_tmpfs:
        errand.limit_files(FILE_LIMIT)
    if not wait_until(lambda: not errand.program.running, SETTLE_S):
        raise Unrecovered(f"{name} still runs on a full disk")
    errand.require_end([*GOOD_ENDS, MissingPrerequisite.exit_code])


def cut_checkpoint(world: World) -> Strike:
    """Cut the newest log of offsets short while the stream is down, as a power cut might.

    The stream must refuse to start and say what to do, which is then done.
    """
    world.stream.program.kill()
    checkpoint = Path(checkpoint_dir(world.settings))
    newest = max((checkpoint / "offsets").glob("[0-9]*"), key=lambda file: int(file.name))
    newest.write_bytes(newest.read_bytes()[:10])
    newest.with_name(f".{newest.name}.crc").unlink(missing_ok=True)
    stopped = await_stop(world, DataLoss)
    assert "move it away" in str(stopped), stopped
    move_away = lambda: checkpoint.rename(checkpoint.with_name("moved-away"))  # noqa: E731
    return mended(world, CUT_CHECKPOINT, move_away)


def mended(world: World, fault: str, mend: Callable[[], object]) -> Strike:
    """Do what the message said, start again, and wait until a new bar is written."""
    started_at = time.monotonic()
    mend()
    world.stream.program.forget()
    await_new_bar(world, world.published_when_up())
    return Strike(fault, 0, time.monotonic() - started_at)


def await_stop(world: World, expected: type[CandlecastError]) -> Stop:
    """Wait until the supervisor leaves the stream to a person, with the right exit code."""
    try:
        world.wait("the stream's stop", lambda: False)
    except Stop as stopped:
        code = world.stream.program.exit_code
        if code == expected.exit_code:
            return stopped
        raise Unrecovered(f"the stream ended with {code}, not {expected.exit_code}") from stopped
    raise Unrecovered(f"the stream went on for {SETTLE_S} s")
