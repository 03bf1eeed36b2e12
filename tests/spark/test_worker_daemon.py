"""Python processes that nobody is left to work for end by themselves."""

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

TIMEOUT_S = 60
SECRET = b"of this test"


class Daemon:
    """The process that Spark's Java starts, and the other ends of what it holds."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "spark.worker_daemon"],
            env={**os.environ, "PYTHON_WORKER_FACTORY_SECRET": SECRET.decode()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        (self._port,) = struct.unpack("!i", self.process.stdout.read(4))

    def worker(self) -> tuple[psutil.Process, socket.socket]:
        """A new worker, and the connection over which Java gives it work."""
        connection = socket.create_connection(("127.0.0.1", self._port))
        (pid,) = struct.unpack("!i", connection.recv(4, socket.MSG_WAITALL))
        connection.sendall(struct.pack("!i", len(SECRET)) + SECRET)
        assert connection.recv(6, socket.MSG_WAITALL) == struct.pack("!i", 2) + b"ok"
        return psutil.Process(pid), connection


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    started = Daemon()
    with started.process:
        yield started
        started.process.kill()


def test_a_killed_java_leaves_no_python_process(daemon: Daemon) -> None:
    workers, connections = zip(*(daemon.worker() for _ in range(2)), strict=True)
    # What the kernel does for a process that is killed: it closes what that held.
    for connection in connections:
        connection.close()
    assert daemon.process.stdin is not None
    daemon.process.stdin.close()
    gone, alive = psutil.wait_procs([*workers, psutil.Process(daemon.process.pid)], TIMEOUT_S)
    assert (len(gone), alive) == (3, [])


def test_a_worker_whose_daemon_was_killed_works_on_and_ends_with_its_connection(
    daemon: Daemon,
) -> None:
    worker, connection = daemon.worker()
    daemon.process.kill()
    daemon.process.wait(TIMEOUT_S)
    assert worker.is_running()
    connection.close()
    assert psutil.wait_procs([worker], TIMEOUT_S)[1] == []
