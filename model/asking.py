"""A question to something that may be away: whoever asks waits for a moment, not for the answer."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Final, Generic, TypeVar

from conf.errors import RetryLater

T = TypeVar("T")
FIRST_PAUSE_S: Final = 15.0
LONGEST_PAUSE_S: Final = 300.0


class Asking(Generic[T]):
    """Asks `question` in a thread of its own, once at a time.

    After a failure, and after an answer that came late, it rests before it asks again: 15 s, then
    twice as long each time, up to 5 minutes.
    """

    def __init__(
        self, question: Callable[[], T], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._question = question
        self._clock = clock
        self._pending: Future[T] | None = None
        self._pause_s = FIRST_PAUSE_S
        self._rests_until = float("-inf")

    def answer(self, within_s: float) -> T | None:
        """The newest answer; None while it rests, or still waits for one that is late.

        Raises what the question raised, and RetryLater where the answer is not there in time; then
        one of the next calls returns it, without waiting.
        """
        in_time = self._pending is None
        if self._pending is None:
            if self._clock() < self._rests_until:
                return None
            self._pending = self._ask()
        wait([self._pending], within_s if in_time else 0)
        if not self._pending.done():
            if not in_time:
                return None
            self._rest()
            raise RetryLater(f"no answer within {within_s:g} s")
        answered, self._pending = self._pending, None
        if not in_time or answered.exception():
            self._rest()
        else:
            self._pause_s = FIRST_PAUSE_S
        return answered.result()

    def _ask(self) -> "Future[T]":
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(self._question())
            except Exception as error:
                future.set_exception(error)

        # A daemon: a server that never answers must not keep the program from ending.
        threading.Thread(target=run, name="asking", daemon=True).start()
        return future

    def _rest(self) -> None:
        self._rests_until = self._clock() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
