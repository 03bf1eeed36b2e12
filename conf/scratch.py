"""Folders for what a program needs only while it runs. A killed program leaves its own behind:
the next that makes one in the same place removes it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_made: Final[set[Path]] = set()


@contextmanager
def scratch(kind: str, place: Path | None = None) -> Iterator[Path]:
    """A new folder for one `kind` of need, in `place` or else where the system keeps such."""
    beginning = f"candlecast-{kind}-"
    place = Path(tempfile.gettempdir()) if place is None else place
    for left in place.glob(f"{beginning}*"):
        if not _in_use(left, left.name.removeprefix(beginning).partition("-")[0]):
            shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=f"{beginning}{os.getpid()}-", dir=place))
    _made.add(made)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        _made.discard(made)


def _in_use(folder: Path, maker: str) -> bool:
    """Whether the process of that id still runs. In a container ids come again: one of ours that
    we have not made is of a program before this one."""
    if not maker.isdecimal():
        return True
    if int(maker) == os.getpid():
        return folder in _made
    try:
        os.kill(int(maker), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        pass
    return True
