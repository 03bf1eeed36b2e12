"""Ports of ours: free ones, and one line where another program has the one that we want."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from conf.errors import MissingPrerequisite

LOOPBACK: Final = "127.0.0.1"


@contextmanager
def listening(host: str, port: int, setting: str) -> Iterator[None]:
    """Raise MissingPrerequisite, naming address and `setting`, where the block can't listen."""
    try:
        yield
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number and number > 0 else error
        raise MissingPrerequisite(
            f"can't listen on {host}:{port} ({reason}): end the program that does, or choose "
            f"another port or address ({setting})"
        ) from error


def bound_socket(host: str, port: int, setting: str) -> socket.socket:
    """A socket that listens on an address, 0 for any free port.

    Raises MissingPrerequisite as `listening` does.
    """
    with listening(host, port, setting):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=128)


def require_free(port: int, host: str = LOOPBACK, setting: str = "--port") -> None:
    """Raise MissingPrerequisite where nobody can listen on an address at this moment."""
    bound_socket(host, port, setting).close()


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether nothing listens on an address at this moment."""
    try:
        require_free(port, host)
    except MissingPrerequisite:
        return False
    return True


def free_port() -> int:
    """A loopback port that nothing listens on at this moment."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """So many of them. Asked for one after the other, the same may come twice."""
    with ExitStack() as held:
        probes = [held.enter_context(bound_socket(LOOPBACK, 0, "")) for _ in range(count)]
        return [int(probe.getsockname()[1]) for probe in probes]
