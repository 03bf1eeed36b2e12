"""One process at a time: locks that the system takes back when the holder dies, however it dies."""

import errno
import fcntl
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from conf.errors import AlreadyRunning
from conf.events import event

log = logging.getLogger(__name__)

# What file systems without locks answer; some network mounts and FUSE file systems have none.
_NO_LOCKS: Final = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL}


@contextmanager
def only_one(file: Path, what: str) -> Iterator[None]:
    """Hold `file` locked while the block runs; `what` names in an error what it is held for.

    The file stays there afterwards, empty; a child process does not inherit the lock. Raises
    AlreadyRunning, which names the holder, where another process holds it. On a file system without
    locks the block runs all the same, and a line in the log says that nothing guards it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+") as held:
        if _locked(held, file, what):
            _write_holder(held, f"process {os.getpid()} ({_program()}) since {_now()}")
        try:
            yield
        finally:
            _write_holder(held, "")


def _locked(held: IO[str], file: Path, what: str) -> bool:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        held.seek(0)
        holder = held.read().strip() or "another process"
        raise AlreadyRunning(
            f"{what} is held by {holder}: end it first, or wait for it (lock: {file})"
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        event(log, "no_locks", level=logging.WARNING, file=file, effect=f"{what} is not guarded")
        return False
    return True


def _write_holder(held: IO[str], text: str) -> None:
    """Best effort: on a full disk the lock holds, and nobody can say who has it."""
    try:
        held.truncate(0)
        held.write(text)
        held.flush()
    except OSError:
        return


def _program() -> str:
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:3]])


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
