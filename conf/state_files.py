"""Small files in which a program remembers something: whole or absent, never a reason to end."""

import errno
import json
import logging
import os
from pathlib import Path
from typing import Any

from conf.errors import ConfigurationError
from conf.events import event

log = logging.getLogger(__name__)


def replace_file(file: Path, content: bytes | str) -> None:
    """Let `file` hold `content` in one step: readers, a crash and a full disk meet the old or the
    new, never a part. Creates the folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    staging = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with staging.open("wb") as written:
            written.write(content.encode() if isinstance(content, str) else content)
            written.flush()
            os.fsync(written.fileno())
        staging.replace(file)
    finally:
        staging.unlink(missing_ok=True)
    sync_folder(file.parent)


def sync_file(file: Path) -> None:
    """Let a file's content survive a loss of power."""
    with file.open("rb") as written:
        os.fsync(written.fileno())


def made_folder(folder: Path, setting: str) -> Path:
    """`folder`, made where it is missing; raises ConfigurationError, which names the setting that
    says where, where it can't be made or written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ConfigurationError(
            f"{setting}: {folder} has to be a folder that this program may make and write to: "
            f"{error.strerror}"
        ) from error
    return folder


def sync_folder(folder: Path) -> None:
    """Let the renames in a folder survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_state(file: Path) -> dict[str, Any]:
    """The JSON object in `file`; empty where there is none, and, with a warning, where the file
    can't be read or holds something else."""
    try:
        found = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        event(log, "state_unreadable", level=logging.WARNING, file=file, reason=error)
        return {}
    if not isinstance(found, dict):
        event(log, "state_unreadable", level=logging.WARNING, file=file, reason="no JSON object")
        return {}
    return found


def write_state(file: Path, state: dict[str, Any]) -> None:
    """Remember `state`, in one step."""
    replace_file(file, json.dumps(state))
