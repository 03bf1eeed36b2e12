"""Answers that many open pages share: computed once in a while, whoever asks."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class Kept(Generic[Answer]):
    """The newest `most` answers, each at most `seconds` old; one is computed at a time."""

    def __init__(
        self, seconds: float, most: int = 64, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._answers: OrderedDict[Hashable, tuple[float, Answer]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, compute: Callable[[], Answer]) -> Answer:
        """The answer of `key`; `compute` makes it where there is none or an old one."""
        with self._lock:
            at, answer = self._answers.get(key, (float("-inf"), None))
            if answer is None or self._clock() - at > self._seconds:
                answer = compute()
                self._answers[key] = (self._clock(), answer)
                if len(self._answers) > self._most:
                    self._answers.popitem(last=False)
            return answer
