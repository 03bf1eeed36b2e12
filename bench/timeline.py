"""How many records a contender's topic held at each moment, and what CPU time had gone into them.

Looked at from outside, twenty times a second, by asking the broker for its end offsets: what is
counted can be read by any consumer, and the contender knows nothing of it.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, Self

import psutil
from kafka import KafkaConsumer, TopicPartition

from conf.errors import CandlecastError

LOOK_EVERY_S: Final = 0.05
CPU_EVERY_S: Final = 0.25


class ContenderStuck(CandlecastError):
    """A contender did not write what it should in time; the message says how far it got."""


class Look(NamedTuple):
    """The records in each partition at a moment (`time.time()`)."""

    at_s: float
    records: tuple[int, ...]


class Timeline:
    """Watches one topic, and the CPU time of trees of processes, while the `with` block runs."""

    def __init__(self, broker: str, topic: str, pids: Sequence[int] = ()) -> None:
        self._topic = topic
        self._pids = pids
        self._looks: list[Look] = []
        self._cpu: list[tuple[float, float]] = []
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._consumer: Any = KafkaConsumer(bootstrap_servers=broker, group_id=None)
        numbers = sorted(self._consumer.partitions_for_topic(topic))
        self._partitions = [TopicPartition(topic, number) for number in numbers]
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stopping.set()
        self._thread.join()
        self._consumer.close()

    def wait_for(
        self,
        records: int,
        timeout_s: float,
        check: Callable[[], None],
        of: Callable[[Iterable[int]], int] = sum,
    ) -> Look:
        """The first look with so many records, of all partitions or (`min`) of each.

        `check` raises what makes waiting pointless.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not (self._looks and of(self._looks[-1].records) >= records):
                self._changed.wait(1.0)
                check()
                if time.monotonic() > deadline:
                    last = self._looks[-1].records if self._looks else "nothing"
                    raise ContenderStuck(f"{self._topic} held {last} after {timeout_s:g} s")
            return next(look for look in self._looks if of(look.records) >= records)

    def reached(self, records: int) -> Look:
        """The first look at which the topic held so many."""
        return next(look for look in self._looks if sum(look.records) >= records)

    def cpu_s(self, from_s: float, until_s: float) -> float:
        """CPU seconds between two moments, between samples by proportion."""
        return self._cpu_at(until_s) - self._cpu_at(from_s)

    def _cpu_at(self, at_s: float) -> float:
        later = next(i for i, (moment, _) in enumerate(self._cpu) if moment >= at_s)
        (t0, c0), (t1, c1) = self._cpu[max(0, later - 1)], self._cpu[later]
        return c1 if t1 == t0 else c0 + (c1 - c0) * (at_s - t0) / (t1 - t0)

    def _watch(self) -> None:
        next_cpu = 0.0
        while not self._stopping.is_set():
            if self._pids and time.monotonic() >= next_cpu:
                next_cpu = time.monotonic() + CPU_EVERY_S
                self._cpu.append((time.time(), sum(map(tree_cpu_s, self._pids))))
            ends = self._consumer.end_offsets(self._partitions)
            look = Look(time.time(), tuple(ends[partition] for partition in self._partitions))
            with self._changed:
                self._looks.append(look)
                self._changed.notify_all()
            self._stopping.wait(LOOK_EVERY_S)
        self._cpu.append((time.time(), sum(map(tree_cpu_s, self._pids))))


def tree_cpu_s(root: int) -> float:
    """User and system seconds of a tree of processes, and of those that it has waited for."""
    spent_s = 0.0
    for process in tree(root):
        with suppress(psutil.Error):  # ended just now
            spent_s += sum(process.cpu_times()[:4])
    return spent_s


def tree(root: int) -> list[psutil.Process]:
    """The process with this id, if it lives, and its descendants."""
    with suppress(psutil.NoSuchProcess):
        top = psutil.Process(root)
        return [top, *top.children(recursive=True)]
    return []
