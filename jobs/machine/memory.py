"""How much memory this process may still take: what is free, or what a container's limit leaves."""

from pathlib import Path
from typing import Final

from conf.errors import NotEnoughMemory

# The names of limit, use and of what the kernel gives back on demand, in a container's folder under
# Linux' control groups, version 2 and 1.
_GROUPS: Final = (
    ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    (
        "sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)


def free_bytes(root: Path = Path("/")) -> int | None:
    """The least of what the machine has free and what the limits of its control groups leave; None
    where neither can be asked, as on a Mac. `root` is where `proc` and `sys` lie."""
    found = [_free_of_machine(root), *(_free_of_group(root, *names) for names in _GROUPS)]
    return min((free for free in found if free is not None), default=None)


def require_memory(needed: int, free: int | None, n_bars: int) -> None:
    """Raise NotEnoughMemory where training on `n_bars` needs more than is free, in bytes."""
    if free is None or needed <= free:
        return
    raise NotEnoughMemory(
        f"training on {n_bars:,} bars needs about {needed / 1e9:.1f} GB of memory, "
        f"{max(free, 0) / 1e9:.1f} GB are free: set training.max_bars lower, or free some"
    )


def _free_of_machine(root: Path) -> int | None:
    value = _listed(root / "proc/meminfo", "MemAvailable:")
    return None if value is None else value * 1024


def _free_of_group(root: Path, folder: str, limit: str, used: str, cache: str) -> int | None:
    """The least that this process's group and those around it leave."""
    found = []
    for group in _groups(root, folder):
        most, taken = _number(group / limit), _number(group / used)
        if most is not None and taken is not None:
            found.append(most - taken + (_listed(group / "memory.stat", cache) or 0))
    return min(found, default=None)


def _groups(root: Path, folder: str) -> list[Path]:
    """The folder of this process's group and those above it, as far as they are to be seen here."""
    top = root / folder
    found = {top}
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, kinds, path = line.split(":", 2)
        if kinds in ("", "memory"):
            own = top / path.lstrip("/")
            found |= {one for one in (own, *own.parents) if one.is_relative_to(top)}
    return sorted(found)


def _number(file: Path) -> int | None:
    """None where there is no file, or it says `max`: no limit."""
    text = _text(file).strip()
    return int(text) if text.isdigit() else None


def _listed(file: Path, name: str) -> int | None:
    """The number behind `name` in a file of names and numbers."""
    for line in _text(file).splitlines():
        found = line.split()
        if len(found) > 1 and found[0] == name and found[1].isdigit():
            return int(found[1])
    return None


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, ValueError):
        return ""
