"""The scoreboard, computed in the background: it may take seconds, the page may not."""

import logging
import threading
import time
from pathlib import Path
from typing import Final

import duckdb
import pandas as pd

from store.views import open_duckdb, read_board

log = logging.getLogger(__name__)

MIN_PAUSE_S: Final = 5.0
# Of the machine's time at most a twentieth goes into scores that nobody may be looking at.
PAUSE_FACTOR: Final = 20.0
# Without a look at it for so long, it is not computed again until someone looks.
IDLE_S: Final = 60.0


class Board:
    """The newest scoreboard and drift; None until the first is there."""

    def __init__(self, warehouse_dir: Path) -> None:
        self._dir = warehouse_dir
        self._scores: pd.DataFrame | None = None
        self._drift = pd.DataFrame()
        self._looked_at = time.monotonic()
        self._stopping = threading.Event()
        self._wanted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="board", daemon=True)
        self.seconds = 0.0
        self.computed_at: float | None = None

    def start(self) -> "Board":
        """Begin, with the first look at it."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End the thread after the scoreboard at work."""
        self._stopping.set()
        self._wanted.set()
        self._thread.join()

    def scores(self) -> pd.DataFrame | None:
        """The view `scoreboard` as of some seconds ago."""
        self._looked_at = time.monotonic()
        self._wanted.set()
        return self._scores

    def drift(self) -> pd.DataFrame:
        """The newest drift figures of each champion."""
        return self._drift

    def _run(self) -> None:
        # Not before someone looks: the first page's chart shall have the machine to itself.
        self._wanted.wait()
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                self._scores = read_board(self._dir, threads=1)
                with open_duckdb(self._dir, threads=1) as connection:
                    self._drift = connection.execute("SELECT * FROM drift_raw").df()
                self.computed_at = time.time()
            except (duckdb.Error, OSError) as error:
                log.warning("scoreboard=failed reason=%s", error)
            self.seconds = time.monotonic() - started
            self._stopping.wait(max(MIN_PAUSE_S, PAUSE_FACTOR * self.seconds))
            if time.monotonic() - self._looked_at > IDLE_S:
                self._wanted.clear()
                self._wanted.wait()
