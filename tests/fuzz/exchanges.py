"""Days of exchanges whose websockets go wrong: a reader has exactly the bars of REST."""

import gc
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.ingest.exchange_server import PROTOCOLS
from tests.ingest.live_run import LiveRun

MINUTES_A_DAY: Final = 1_440


@dataclass
class ExchangesReport:
    """By exchange: bars published, what went wrong by its kind, what does not hold of the bars.

    `revised` are bars that a poll corrected; `grown_mb` is what the second half added to the
    memory of the process; `left` are threads that outlived a run.
    """

    days: float = 0.0
    bars: dict[str, int] = field(default_factory=dict)
    faults: dict[str, dict[str, int]] = field(default_factory=dict)
    wrong: dict[str, dict[str, int]] = field(default_factory=dict)
    revised: dict[str, int] = field(default_factory=dict)
    grown_mb: dict[str, float] = field(default_factory=dict)
    took_s: dict[str, float] = field(default_factory=dict)
    left: int = 0

    @property
    def good(self) -> bool:
        """Whether every bar is there once more than it was revised, and as REST has it."""
        return not any(self.wrong.values()) and not self.left


def fuzz_exchanges(days: float, faults: int, seed: int, names: list[str]) -> ExchangesReport:
    """Run each exchange for so many simulated days, with so many faults of all together."""
    report = ExchangesReport(days)
    minutes = int(days * MINUTES_A_DAY)
    for name in names:
        begun = time.monotonic()
        run = LiveRun(name, ["BTC-USDT"], seed, every=minutes * len(names) / max(1, faults))
        held_mb: list[float] = []
        for part in (0.5, 0.95):
            at_ms = run.clock.now_ms() + int(minutes * 60_000 * part)
            run.clock.at(at_ms, lambda held_mb=held_mb: held_mb.append(resident_mb()))  # type: ignore[misc]
        run.run(minutes)
        wrong = Counter(run.wrong())
        report.revised[name] = wrong.pop("revised", 0)
        report.wrong[name] = dict(wrong)
        report.bars[name] = len(run.kept.bars)
        report.faults[name] = dict(run.script.faults)
        report.grown_mb[name] = round(held_mb[1] - held_mb[0], 1)
        report.took_s[name] = round(time.monotonic() - begun, 1)
    report.left = sum(thread.name == "live" for thread in threading.enumerate())
    return report


def resident_mb() -> float:
    """What this process holds in memory."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4_096 / 1e6


ALL: Final = list(PROTOCOLS)
