"""CPU time of a tree of processes, from /proc: of those that live, and of those they waited for."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> Iterator[int]:
    """The process id `root` and those of its descendants."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            fields = _stat(folder / "stat")
            if fields:
                children.setdefault(int(fields[1]), []).append(int(folder.name))
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += children.get(pid, [])


def tree_cpu_s(root: int) -> float:
    """User and system seconds of a tree, its ended processes included."""
    total = 0
    for pid in tree(root):
        fields = _stat(Path(f"/proc/{pid}/stat"))
        total += sum(int(field) for field in fields[11:15])
    return total / TICKS_PER_S


def thread_cpu_s(pid: int) -> dict[str, float]:
    """User and system seconds of each thread of one process, added up by the thread's name."""
    seconds: dict[str, float] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        fields = _stat(task / "stat")
        if fields:
            name = (task / "comm").read_text().strip()
            spent_s = sum(int(field) for field in fields[11:13]) / TICKS_PER_S
            seconds[name] = seconds.get(name, 0.0) + spent_s
    return seconds


def command_line(pid: int) -> str:
    """The command line of a process; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def _stat(file: Path) -> list[str]:
    """The fields of a `stat` file after the name, which may hold spaces; empty where it ended."""
    try:
        return file.read_text().rpartition(")")[2].split()
    except OSError:
        return []
