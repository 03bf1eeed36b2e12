"""`candlecast run`: keeps ingest, stream and the rest alive, for those without systemd or Compose.

A program that ends with an exit code that says "try again" is started again after a pause that
doubles up to five minutes; one that says "a person has to act" ends the run with its message.
"""

import logging
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from conf.errors import ConfigurationError, DataLoss, Stop
from conf.events import event
from conf.extras import without_train
from conf.settings import Settings, load_settings
from jobs.machine.processes import Program, candlecast, spark_submit
from jobs.terminal.logs import configure_logging
from jobs.terminal.stopping import ending_signals
from store.locks import only_worker

log = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 2.0
LONGEST_PAUSE_S: Final = 300.0
# A program that ran this long was healthy: its next failure starts with a short pause again.
HEALTHY_AFTER_S: Final = 600.0
FOR_A_PERSON: Final = (Stop.exit_code, DataLoss.exit_code)
LOOK_EVERY_S: Final = 1.0
EVERYTHING: Final = ("ingest", "stream", "score", "retrain", "housekeeping")
# Of one program; its log before that takes up as much once more.
LOG_BYTES: Final = 20_000_000


@dataclass
class Kept:
    """A program that is kept running, and when it may be started again."""

    program: Program
    pause_s: float = FIRST_PAUSE_S
    started_at: float = 0.0
    start_at: float = 0.0

    def look(self, now: float) -> None:
        """Start the program if it is due, or note that it ended.

        Raises Stop where its exit code says that a person has to act.
        """
        if self.program.running:
            return
        code = self.program.exit_code
        if code is not None:
            self._ended(code, now)
        if self.start_at <= now and self.program.exit_code is None:
            event(log, "start", program=self.program.name)
            self.started_at = now
            self.program.start()

    def _ended(self, code: int, now: float) -> None:
        if code in FOR_A_PERSON:
            raise Stop(f"{self.program.name} needs you: {self.program.last_words()}")
        if now - self.started_at > HEALTHY_AFTER_S:
            self.pause_s = FIRST_PAUSE_S
        event(
            log,
            "ended",
            level=logging.WARNING,
            program=self.program.name,
            exit_code=code,
            again_in_s=self.pause_s,
        )
        self.start_at = now + self.pause_s
        self.pause_s = min(LONGEST_PAUSE_S, 2 * self.pause_s)
        self.program.forget()


def bound_log(program: Program) -> None:
    """Keep a program's log within its bound; a full disk is no reason to end the programs."""
    try:
        program.bound_log(LOG_BYTES)
    except OSError as error:
        event(log, "log_lost", level=logging.WARNING, program=program.name, reason=error)


def programs(names: list[str], logs: Path) -> list[Program]:
    """The programs by name, without one that this installation can't run; raises
    ConfigurationError for one that there is not."""
    arguments = {
        "ingest": (),
        "score": ("--every", "60"),
        "retrain": (),
        "housekeeping": ("--every", "60"),
        "dashboard": (),
    }
    known = {"stream": spark_submit("jobs/predict_stream.py", {}, logs / "stream.log")}
    for name, given in arguments.items():
        known[name] = candlecast(name, given, {}, logs / f"{name}.log")
    for name in names:
        if name not in known:
            raise ConfigurationError(f"--only {name}: there are {', '.join(known)}")
    if "retrain" in names and (missing := without_train()):
        event(log, "retrain_off", level=logging.WARNING, reason=missing)
        names = [name for name in names if name != "retrain"]
    return [known[name] for name in names]


def run(
    only: Annotated[str, typer.Option(help="which programs, with commas")] = ",".join(EVERYTHING),
) -> None:
    """Keep the programs alive until Ctrl-C; their logs lie in reports/logs."""
    configure_logging()
    settings = load_settings()
    logs = Path(settings.warehouse.reports_dir) / "logs"
    keep_running(programs(only.split(","), logs), settings)


def keep_running(those: Sequence[Program], settings: Settings) -> None:
    """Keep programs alive until Ctrl-C."""
    stopping = threading.Event()
    for number in ending_signals():
        signal.signal(number, lambda *_: stopping.set())
    kept = [Kept(one) for one in those]
    with only_worker(settings.warehouse, "run"):
        try:
            while not stopping.is_set():
                for one in kept:
                    one.look(time.monotonic())
                    bound_log(one.program)
                stopping.wait(LOOK_EVERY_S)
        finally:
            for one in reversed(kept):
                event(log, "stop", program=one.program.name)
                one.program.stop()
