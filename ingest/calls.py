"""The calls of a source: planned, made within the budget on threads of their own, answered."""

import heapq
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from queue import SimpleQueue
from typing import Any, Final

from ingest.budget import RateBudget
from ingest.feed import Feed, Steps
from ingest.rounds import Round
from ingest.sources import Closed, Cut

# How long a wait for answers may delay a due poll or a stop.
SLICE_S: Final = 0.1


@dataclass(slots=True, eq=False)
class Poll:
    """One feed's poll under way: the call that it waits for, and how often that was made."""

    feed: Feed
    round: Round
    steps: Steps
    call: Callable[[], Any] | None = None
    attempt: int = 1


class Calls:
    """Plans are times of the monotonic clock (ms). `answers` has each poll with what its call gave,
    an exception or an answer, and what a websocket told; `under_way` counts calls whose answer was
    not taken yet, `workers` at most.
    """

    def __init__(self, budget: RateBudget, workers: int) -> None:
        self.answers: SimpleQueue[tuple[Poll, object] | Closed | Cut] = SimpleQueue()
        self.under_way = 0
        self._budget = budget
        self._workers = workers
        self._order = count()
        self._planned: list[tuple[int, int, Poll]] = []

    @property
    def planned(self) -> bool:
        """Whether a call is to be made, now or later."""
        return bool(self._planned)

    def plan(self, poll: Poll, at_ms: int) -> None:
        """Make the call of `poll` at a time, or soon after."""
        heapq.heappush(self._planned, (at_ms, next(self._order), poll))

    def due(self, now_ms: int) -> bool:
        """Whether a call is to be made now."""
        return bool(self._planned) and self._planned[0][0] <= now_ms

    def make(self, now_ms: int, on_call: Callable[[Round], None]) -> float:
        """Make the calls that are due and within the budget; return seconds to the next."""
        while self.due(now_ms):
            if self.under_way >= self._workers:
                return SLICE_S
            wait_s = self._budget.take(now_ms)
            if wait_s > 0:
                return wait_s
            poll = heapq.heappop(self._planned)[2]
            on_call(poll.round)
            self.under_way += 1
            # A thread of the standard library's pools is joined when the program ends: an answer
            # that drips would delay Ctrl-C.
            threading.Thread(target=self._make, args=(poll,), daemon=True).start()
        if not self._planned:
            return SLICE_S
        return max(0.0, self._planned[0][0] - now_ms) / 1000

    def _make(self, poll: Poll) -> None:
        assert poll.call is not None
        try:
            self.answers.put((poll, poll.call()))
        except Exception as error:
            self.answers.put((poll, error))
