"""What the poller drives: a feed, whose poll is a generator, and what a poll finds."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Final

from ingest.bar import Bar
from ingest.clock import Clock
from ingest.publish import Record

# Bars that a source did not have are asked for again after this long, then after twice as long
# and so on: a late bar is caught, and a coin that did not exist yet costs a call a day.
RECHECK_MS: Final = 3_600_000
MAX_RECHECK_MS: Final = 86_400_000


@dataclass(slots=True)
class Findings:
    """What a poll has to publish: `records`, of which `new` and `revised` are bars or articles.

    `bars` are those of the new ones that are bars.

    `rejected` are the reasons of those that break a rule; `answered` is how many bars need not be
    asked for any more; `cuts` is 1 where the answer was cut short, so that its rest is asked for.
    """

    records: list[Record] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    new: int = 0
    revised: int = 0
    rejected: list[str] = field(default_factory=list)
    answered: int = 0
    cuts: int = 0


# One poll. It yields a call of the source and receives the answer, or None where the call failed
# for good; it yields Findings and goes on only when every record is acknowledged, so that what
# follows may move the cursor.
Steps = Generator[Callable[[], Any] | Findings, Any, None]


class Feed(ABC):
    """What the poller drives, on its own thread; the calls alone are made on others.

    `name` is for the log, each feed of a poller has its own; `kind` is `bars` or `articles`. A feed
    polls every `period_ms`, `grace_ms` later than the clock's multiples of it.
    """

    kind: str
    # Whether something of it was published between two polls.
    live = False

    def __init__(self, name: str, period_ms: int, grace_ms: int = 0) -> None:
        self.name = name
        self._period_ms = period_ms
        self._grace_ms = grace_ms

    def next_poll_ms(self, now_ms: int) -> int:
        """When to poll next, after `now_ms`: by the clock, so it never drifts."""
        passed = (now_ms - self._grace_ms) // self._period_ms
        return (passed + 1) * self._period_ms + self._grace_ms

    @abstractmethod
    def poll(self, clock: Clock) -> Steps:
        """Poll once, step by step."""

    def newest_close_ms(self) -> int | None:
        """The close of the newest bar published; None where there is none."""
        return None

    def gaps(self) -> int:
        """How many records are known to be missing."""
        return 0
