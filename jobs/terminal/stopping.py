"""What tells a program to end, and a limit on how long the end may take."""

import signal
import threading
from typing import Final

# Everything here may be killed at any point without loss, so being late is worse than being rude.
STOP_BY_FORCE_S: Final = 6


def ending_signals() -> tuple[signal.Signals, ...]:
    """Ctrl-C, SIGTERM, and SIGHUP of a terminal that closes, unless `nohup` keeps it away."""
    kept_away = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return (signal.SIGINT, signal.SIGTERM, *(() if kept_away else (signal.SIGHUP,)))


def end_on_signals() -> None:
    """Let SIGTERM end the program as an exception does: what is open gets closed, temporary folders
    go, the exit code is the shell's, 143. SIGHUP is SIGTERM, whatever a server makes of that."""

    def end(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    if signal.SIGHUP in ending_signals():
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))


def stop_on_signals() -> threading.Event:
    """An event that the ending signals set; a program that does not end by it ends soon after.

    Called on the main thread. A second signal, or STOP_BY_FORCE_S after the first, raises
    SystemExit(0) wherever the main thread is.
    """
    stopping = threading.Event()

    def stop(*_: object) -> None:
        if stopping.is_set():
            raise SystemExit(0)
        stopping.set()
        signal.alarm(STOP_BY_FORCE_S)

    for number in (*ending_signals(), signal.SIGALRM):
        signal.signal(number, stop)
    return stopping
