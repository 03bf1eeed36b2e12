"""A registry that is locked, damaged or away: the stream predicts on with what it has."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from typing import Final

from tests.chaos.victims import kill
from tests.chaos.world import World

LOCKED: Final = "registry locked"
DAMAGED: Final = "registry damaged"
AWAY: Final = "registry away"
FAULTS: Final = (LOCKED, DAMAGED, AWAY)
DATABASE: Final = "mlflow.db"


@contextmanager
def trouble(world: World, fault: str) -> Iterator[None]:
    """The registry is in trouble while the block runs, and as before after it."""
    database = world.folder / DATABASE
    if fault == LOCKED:
        with closing(sqlite3.connect(database, isolation_level=None)) as holder:
            holder.execute("BEGIN EXCLUSIVE")
            yield
        return
    away = world.folder / "away"
    away.mkdir()
    moved = [*world.folder.glob(f"{DATABASE}*"), *([world.models] if fault == AWAY else [])]
    for path in moved:
        path.rename(away / path.name)
    if fault == DAMAGED:
        database.write_bytes(b"this is no database" * 1000)
    try:
        yield
    finally:
        for path in world.folder.glob(f"{DATABASE}*"):
            path.unlink()
        for path in moved:
            bring_back(away / path.name, path)
        away.rmdir()


def bring_back(path: Path, to: Path) -> None:
    """Move it back over what was made in its place meanwhile."""
    if to.is_dir():
        to.rename(to.with_name(f"{to.name}-made-meanwhile"))
    path.rename(to)


def kill_in_trouble(world: World, random: Random) -> int:
    """Half of the time the driver dies too, so that the next one starts without its registry."""
    return kill(world, "driver JVM", random) if random.random() < 0.5 else 0
