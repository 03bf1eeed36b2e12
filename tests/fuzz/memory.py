"""Does the stream's memory grow with what it has read? Samples of its programs while it reads."""

from dataclasses import dataclass, field
from typing import Final

import psutil

from bench.timeline import tree

# What a program may take in the last third over what it took in the second.
GROWTH: Final = 1.15
MEGABYTE: Final = 1 << 20


@dataclass
class Memory:
    """Samples of the resident megabytes of a stream's programs, and of what it had written."""

    messages: list[int] = field(default_factory=list)
    java_mb: list[int] = field(default_factory=list)
    driver_python_mb: list[int] = field(default_factory=list)
    workers_mb: list[int] = field(default_factory=list)

    def sample(self, pid: int, written: int) -> None:
        """Take a sample of the stream with this process id, which is Java's."""
        taken = dict.fromkeys(("java_mb", "driver_python_mb", "workers_mb"), 0)
        for process in tree(pid):
            try:
                resident = process.memory_info().rss // MEGABYTE
                kind = kind_of(process.pid == pid, " ".join(process.cmdline()))
            except psutil.Error:
                continue  # a worker that has just ended
            if kind is not None:
                taken[kind] += resident
        self.messages.append(written)
        for kind, resident in taken.items():
            getattr(self, kind).append(resident)

    def growth(self) -> dict[str, float]:
        """The most of the last third over the most of the second, by program.

        Java takes what it may before it cleans up: only its highest figures can be compared.
        """
        third = len(self.messages) // 3
        assert third, f"{len(self.messages)} samples are too few: send more"
        return {
            kind: round(max(taken[2 * third :]) / max(taken[third : 2 * third]), 3)
            for kind, taken in vars(self).items()
            if kind != "messages"
        }


def kind_of(is_java: bool, command: str) -> str | None:
    """The field of `Memory` that a process of a stream belongs to; None for one in between.

    >>> kind_of(False, "python -m spark.worker_daemon")
    'workers_mb'
    """
    if is_java:
        return "java_mb"
    if "SparkSubmit" in command:
        return None  # a copy of Java that is about to become another program
    if "pyspark.daemon" in command or "worker_daemon" in command:
        return "workers_mb"
    return "driver_python_mb" if "predict_stream.py" in command else None
