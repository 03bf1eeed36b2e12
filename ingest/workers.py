"""Calls that may hang, on threads that may be left behind."""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Workers(Generic[T]):
    """Runs calls on `count` daemon threads and hands back what came of each.

    A thread pool of the standard library is joined when the program ends, so that one dripping
    answer would hold up Ctrl-C; these threads are not.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._calls: SimpleQueue[tuple[T, Callable[[], object]] | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[T, object]] = SimpleQueue()

    def __enter__(self) -> Self:
        for number in range(self._count):
            threading.Thread(target=self._work, name=f"fetch-{number}", daemon=True).start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for _ in range(self._count):
            self._calls.put(None)

    def submit(self, task: T, call: Callable[[], object]) -> None:
        """Have `call` made; `task` comes back with its result."""
        self._calls.put((task, call))

    def take(self, timeout_s: float) -> list[tuple[T, object]]:
        """What is done: waits up to `timeout_s` for the first, an exception is a result too."""
        taken: list[tuple[T, object]] = []
        try:
            taken.append(self._done.get(timeout=timeout_s))
            while True:
                taken.append(self._done.get_nowait())
        except Empty:
            return taken

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            task, call = item
            try:
                self._done.put((task, call()))
            except Exception as error:
                self._done.put((task, error))
