"""Ctrl-C and SIGTERM as an event, and a limit on how long the end may take."""

import signal
import threading
from typing import Final

# Everything here may be killed at any point without loss, so being late is worse than being rude.
STOP_BY_FORCE_S: Final = 6


def stop_on_signals() -> threading.Event:
    """An event that Ctrl-C and SIGTERM set; a program that does not end by it ends soon after.

    Called on the main thread. A second signal, or STOP_BY_FORCE_S after the first, raises
    SystemExit(0) wherever the main thread is.
    """
    stopping = threading.Event()

    def stop(*_: object) -> None:
        if stopping.is_set():
            raise SystemExit(0)
        stopping.set()
        signal.alarm(STOP_BY_FORCE_S)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, stop)
    return stopping
