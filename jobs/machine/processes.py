"""Programs that another program starts, watches and ends: by their id, and no others."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final, Self

from conf.environment import of_spark, ours
from conf.errors import CandlecastError
from conf.scratch import scratch
from jobs.terminal.program import LAST_LINE

STOP_TIMEOUT_S: Final = 20
POLL_S: Final = 0.1
PROJECT_DIR: Final = Path(__file__).parent.parent.parent
# What of a log is looked at for a program's last words.
LOG_END_BYTES: Final = 256 * 1024
# `sh -c START WATCH COMMAND ...` becomes the command. Beside it, in its process group, the watcher
# waits until nobody holds the other end of the command's first standard input: then it kills the
# group. So nothing outlives the process that started it, however that one ended.
_WATCH: Final = 'trap "" HUP INT TERM; read -r _; kill -KILL 0'
_START: Final = 'exec 3<&0 </dev/null; sh -c "$0" <&3 >/dev/null 2>&1 & exec 3<&-; exec "$@"'


class ProgramEnded(CandlecastError):
    """A program that should be running is not; the message holds the end of its log."""


def start_child(
    command: Sequence[str],
    env: Mapping[str, str] | None = None,
    folder: Path | None = None,
    output: IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, which ends with this process whatever ends it.

    It leads a process group with what it starts. Whoever waits for it closes its `stdin` then:
    this ends what it has left over. Ctrl-C in the terminal reaches only the parent.
    """
    return subprocess.Popen(
        ["/bin/sh", "-c", _START, _WATCH, *command],
        env=None if env is None else dict(env),
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output and subprocess.STDOUT,
        start_new_session=True,
    )


def let_go(process: subprocess.Popen[bytes]) -> None:
    """End what a process that has ended left over in its group."""
    assert process.stdin is not None
    process.stdin.close()


class Program:
    """A child process with its output in a log file; the parent ends its children in order."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        log: Path,
        folder: Path = PROJECT_DIR,
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._env = {**ours(os.environ), **env}
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch = ExitStack()

    @property
    def pid(self) -> int:
        """The process id, also the id of its process group."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._poll() is None

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs, or before it was started."""
        return self._poll()

    def _poll(self) -> int | None:
        """How it ended, if it did; what it has left over then ends, too."""
        if self._process is None or self._process.poll() is None:
            return None
        self._let_go()
        return self._process.returncode

    def forget(self) -> None:
        """Let go of a process that has ended, so that the program counts as not started."""
        if not self.running:
            self._process = None

    def bound_log(self, most_bytes: int) -> None:
        """Begin the log anew once it is larger; what it held is then in `LOG.1`, and what that held
        is gone. A line that is written at this moment may be lost."""
        if not self.log.exists() or self.log.stat().st_size <= most_bytes:
            return
        copy = self.log.with_name(f".{self.log.name}.copy")
        try:
            shutil.copyfile(self.log, copy)
            copy.replace(self.log.with_name(f"{self.log.name}.1"))
        finally:
            copy.unlink(missing_ok=True)
            os.truncate(self.log, 0)  # the program appends: what it writes next stands first
            self._log_start = 0

    def log_tail(self, lines: int) -> str:
        """The last lines of its log."""
        return "\n".join(self._log_end(0)[-lines:])

    def last_words(self) -> str:
        """Why it ended: the last error of ours in its log, or else the last line.

        Stack traces of Java may follow an error of ours.
        """
        lines = self._log_end(self._log_start)
        own = [line for line in lines if line.startswith(LAST_LINE)]
        return (own or lines or [""])[-1]

    def _log_end(self, since: int) -> list[str]:
        """The last lines that were written behind the byte `since`."""
        with self.log.open("rb") as log:
            log.seek(max(since, log.seek(0, os.SEEK_END) - LOG_END_BYTES))
            return log.read().decode(errors="replace").splitlines()

    def start(self) -> Self:
        """Start it; what it prints is appended to the log. A second start needs an end before."""
        assert not self.running, f"{self.name} runs already"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            temporary = self._scratch.enter_context(scratch("program", self.log.parent.resolve()))
            env = {**self._env, "TMPDIR": str(temporary)}
            self._process = start_child(self._command, env, self._folder, log)
        return self

    def check(self) -> None:
        """Raise ProgramEnded if it is no longer running."""
        if self.exit_code is not None:
            raise ProgramEnded(
                f"{self.name} ended with exit code {self.exit_code}; its log {self.log} "
                f"ends with:\n{self.log_tail(5)}"
            )

    def stop(self) -> None:
        """Ask it to end, and make it if it does not."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and what it started at once, as a crash of the machine would."""
        self._signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _signal(self, how: signal.Signals) -> None:
        if self._process is None or self._poll() is not None:
            return
        os.killpg(self._process.pid, how)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._let_go()

    def _let_go(self) -> None:
        assert self._process is not None
        let_go(self._process)
        self._scratch.close()


def spark_submit(
    job: str,
    env: Mapping[str, str],
    log: Path,
    options: Sequence[str] = (),
    folder: Path = PROJECT_DIR,
    arguments: Sequence[str] = (),
) -> Program:
    """`spark-submit OPTIONS JOB ARGUMENTS`, started in `folder`, with this interpreter's Spark."""
    submit = str(Path(sys.executable).parent / "spark-submit")
    command = [submit, *options, str(PROJECT_DIR / job), *arguments]
    return Program(job, command, {**of_spark(os.environ, command), **env}, log, folder)


def candlecast(name: str, arguments: Sequence[str], env: Mapping[str, str], log: Path) -> Program:
    """`candlecast NAME ARGUMENTS`, with this interpreter."""
    return Program(name, [sys.executable, "-m", "jobs.cli", name, *arguments], env, log)


def wait_until(
    done: Callable[[], bool], timeout_s: float, check: Callable[[], None] = lambda: None
) -> bool:
    """Poll `done` until it is true; False after `timeout_s`.

    `check` is called in between, to raise what makes waiting pointless.
    """
    deadline = time.monotonic() + timeout_s
    while not done():
        check()
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
