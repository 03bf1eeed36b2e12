"""Who may work on a warehouse: one program of each kind, and one stream a checkpoint."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

from conf.events import event
from conf.locks import only_one
from conf.sections import Warehouse, local_folder
from conf.state_files import made_folder

log = logging.getLogger(__name__)

# Beside the tables, so that they hold for whoever uses the same folder, from whatever checkout.
LOCKS: Final = "_locks"

Work = Literal["stream", "run", "score", "retrain", "housekeeping"]


@contextmanager
def only_worker(warehouse: Warehouse, work: Work) -> Iterator[None]:
    """Hold the right to do `work` while the block runs: of the stream on its checkpoint, of the
    others on the warehouse.

    Raises AlreadyRunning, which names the holder, where another process does it, and
    ConfigurationError, which names the setting, where the folder can't be written to. On a file
    system of other machines nothing is held, and a line in the log says so.
    """
    setting = "checkpoint_dir" if work == "stream" else "dir"
    place = getattr(warehouse, setting)
    what = f"{work} on {place}"
    folder = local_folder(place)
    if folder is None:
        event(log, "no_locks", level=logging.WARNING, folder=place, effect=f"{what} is not guarded")
        yield
        return
    with only_one(made_folder(folder / LOCKS, f"warehouse.{setting}") / work, what):
        yield
