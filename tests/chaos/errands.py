"""Programs that come and go beside the stream: each is struck at any moment of its life."""

import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Final

import psutil

from conf.errors import RetryLater
from conf.ports import free_port
from jobs.machine.processes import Program, candlecast, wait_until
from tests.chaos.victims import kill
from tests.chaos.world import SETTLE_S, Unrecovered, World

# The commands, and about how many seconds one lives beside the stream; a server lives on.
COMMANDS: Final = {
    "score": (("score",), 10.0),
    "retrain": (("retrain", "--once", "--force"), 20.0),
    "compaction": (("compact",), 6.0),
    "page": (("dashboard",), 10.0),
    "API": (("api",), 10.0),
}
SERVERS: Final = ("page", "API")
# What a program may end with by itself: done, or another one is at work.
GOOD_ENDS: Final = (0, RetryLater.exit_code)
# Struck beside them; the stream goes on, so that the next volley need not wait for its start.
BESIDE: Final = ("ingest", "Python worker")
LONGEST_VOLLEY_S: Final = 12.0


@dataclass
class Errand:
    """A program on its way; `port` is where a server answers."""

    name: str
    program: Program
    port: int

    @classmethod
    def start(cls, world: World, name: str) -> "Errand":
        """Start it beside whatever runs."""
        command, port = COMMANDS[name][0], free_port()
        arguments = [*command[1:], *(("--port", str(port)) if name in SERVERS else ())]
        log = world.folder / f"{name}-{port}.log"
        return cls(name, candlecast(command[0], arguments, world.env, log).start(), port)

    def strike(self, world: World) -> int:
        """`kill -9`, and 1; or 0 where it has ended by itself.

        Raises Unrecovered where it ended badly.
        """
        if self.program.running:
            os.kill(self.program.pid, signal.SIGKILL)
            wait_until(lambda: not self.program.running, SETTLE_S)
            world.killed[self.name] += 1
            return 1
        self.require_end(GOOD_ENDS)
        return 0

    def require_end(self, codes: Sequence[int]) -> None:
        """Raises Unrecovered where it has ended with another code than one of these."""
        code = self.program.exit_code
        if code not in codes:
            raise Unrecovered(f"{self.name} ended with {code}: {self.program.last_words()}")

    def limit_files(self, size: int) -> None:
        """Let it write no more than so many bytes to a file."""
        with suppress(psutil.NoSuchProcess):  # it has ended already
            psutil.Process(self.program.pid).rlimit(psutil.RLIMIT_FSIZE, (size, size))


def volley(world: World, random: Random) -> int:
    """Start three programs, one perhaps twice, and strike each somewhere in its life.

    Ingest and Python workers are struck meanwhile. Returns how many processes that killed.
    """
    names = random.sample(list(COMMANDS), 3)
    if "compaction" in names:  # two at once, one of which must give way
        names.append("compaction")
    begun_at = time.monotonic()
    errands = [Errand.start(world, name) for name in names]
    longest = {name: min(LONGEST_VOLLEY_S, COMMANDS[name][1]) for name in names}
    blows = [
        *((random.uniform(0, longest[errand.name]), errand.strike) for errand in errands),
        *((random.uniform(0, LONGEST_VOLLEY_S), role) for role in BESIDE),
    ]
    kills = 0
    for delay_s, blow in sorted(blows, key=lambda one: one[0]):
        at = begun_at + delay_s
        world.wait("the next blow", lambda at=at: time.monotonic() >= at)
        kills += kill(world, blow, random) if isinstance(blow, str) else blow(world)
    return kills


def all_do_their_work(world: World) -> None:
    """Let each program do what it is there for, undisturbed.

    Raises Unrecovered where one does not.
    """
    for name in COMMANDS:
        errand = Errand.start(world, name)
        with_answer = f"http://127.0.0.1:{errand.port}/"
        if name in SERVERS:
            path = "scores" if name == "API" else ""
            up = lambda path=path, url=with_answer: answers(url + path)  # noqa: E731
            world.wait(f"the {name}", up)
            errand.program.stop()
            continue
        world.wait(name, lambda errand=errand: not errand.program.running)
        errand.require_end(GOOD_ENDS if name == "retrain" else [0])  # a short run has few bars


def answers(url: str) -> bool:
    """Whether there is an answer, and a good one."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=10) as answer:
            return answer.status == 200
    except urllib.error.HTTPError as error:
        raise Unrecovered(f"{url} answered {error.code}") from error
    except OSError:
        return False
