"""What a run of chaos found, as JSON and as a table."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.chaos.balance import Balance
from tests.chaos.faults import CUT_CHECKPOINT, Strike


@dataclass
class ChaosReport:
    """One run of `reports/chaos.json`.

    kills: processes ended by `kill -9`. recovered_in_s: median and longest time from a strike to
    the next micro-batch that holds a bar published after it. `lost`, `twice` and `different`
    compare all rows of tables and topics with those of an undisturbed run. A reader of the views
    got `answers` meanwhile, and wrong ones in `misread`; no file of `unreadable` can be read.
    """

    seed: int
    master: str
    strikes: list[Strike] = field(default_factory=list)
    before_cut: Balance = field(default_factory=Balance)
    after_cut: Balance = field(default_factory=Balance)
    killed: dict[str, int] = field(default_factory=dict)
    answers: int = 0
    misread: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    left_over: int = 0
    failure: str | None = None
    disk: str = ""
    seconds: float = 0.0

    @property
    def kills(self) -> int:
        """Processes killed."""
        return sum(strike.kills for strike in self.strikes)

    @property
    def good(self) -> bool:
        """Whether everything recovered, and every row is there once."""
        bad = [self.before_cut.bad, self.after_cut.bad, self.left_over]
        bad += [len(self.misread), len(self.unreadable)]
        return self.failure is None and self.before_cut.rows > 0 and not any(bad)

    def as_dict(self) -> dict[str, object]:
        """The report as JSON has it."""
        both = (self.before_cut, self.after_cut)
        return {
            "kills": self.kills,
            "rows": self.before_cut.rows,
            "lost": sum(balance.lost for balance in both),
            "twice": sum(balance.twice for balance in both),
            "different": sum(balance.different for balance in both),
            "recovered_in_s": times([strike.recovered_in_s for strike in self.strikes]),
            "faults": self.rows(),
            "seed": self.seed,
            "master": self.master,
            "warehouse_disk": self.disk,
            "killed": self.killed,
            "answers_to_readers": self.answers,
            "misread": self.misread,
            "unreadable_files": self.unreadable,
            "processes_left_over": self.left_over,
            "failure": self.failure,
            "seconds": round(self.seconds, 1),
            "after_new_checkpoint": asdict(self.after_cut),
        }

    def rows(self) -> list[dict[str, Any]]:
        """One row a fault. Lost and twice are known for all faults of a part together."""
        faults = dict.fromkeys(strike.fault for strike in self.strikes)
        found = []
        for fault in faults:
            own = [strike for strike in self.strikes if strike.fault == fault]
            part = self.after_cut if fault == CUT_CHECKPOINT else self.before_cut
            found.append(
                {
                    "fault": fault,
                    "times": len(own),
                    "kills": sum(strike.kills for strike in own),
                    "recovered_in_s": times([strike.recovered_in_s for strike in own]),
                    "lost": part.lost,
                    "twice": part.twice,
                }
            )
        return found

    def print(self, console: Console) -> None:
        """Show a row a fault, and the verdict as a line."""
        table = Table("fault", title=f"recovery on {self.master}, seed {self.seed}")
        for heading in ("times", "kills", "median s", "longest s", "lost", "twice"):
            table.add_column(heading, justify="right")
        for row in self.rows():
            seconds: dict[str, float] = row["recovered_in_s"]
            values = [row["times"], row["kills"], seconds["median"], seconds["max"]]
            table.add_row(row["fault"], *map(str, [*values, row["lost"], row["twice"]]))
        console.print(table)
        console.print(
            f"{self.kills} kills in {self.seconds:.0f} s; {self.before_cut.rows} rows expected: "
            f"{self.before_cut.lost} lost, {self.before_cut.twice} twice, "
            f"{self.before_cut.different} different; {self.left_over} processes left over; "
            f"{self.answers} answers to readers, {len(self.misread)} wrong; "
            f"{len(self.unreadable)} unreadable files; the full disk was {self.disk}"
        )
        if self.failure:
            console.print(f"It did not recover: {self.failure}", style="red")


def save(reports: Sequence[ChaosReport], file: Path) -> None:
    """Write all runs, and their sums, as JSON."""
    killed = sum((Counter(report.killed) for report in reports), Counter[str]())
    balances = [part for one in reports for part in (one.before_cut, one.after_cut)]
    sums = {
        "good": all(report.good for report in reports),
        "kills": sum(report.kills for report in reports),
        "killed": dict(killed.most_common()),
        "rows": sum(report.before_cut.rows for report in reports),
        "lost": sum(one.lost for one in balances),
        "twice": sum(one.twice for one in balances),
        "different": sum(one.different for one in balances),
        "misread": sum(len(report.misread) for report in reports),
        "unreadable_files": sum(len(report.unreadable) for report in reports),
        "processes_left_over": sum(report.left_over for report in reports),
        "seconds": round(sum(report.seconds for report in reports), 1),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {**sums, "runs": [report.as_dict() for report in reports]}
    file.write_text(json.dumps(content, indent=2) + "\n")


def times(seconds: list[float]) -> dict[str, float]:
    """Median and longest, to a tenth of a second.

    >>> times([1.0, 2.0, 9.04])
    {'median': 2.0, 'max': 9.0}
    """
    return {"median": round(median(seconds), 1), "max": round(max(seconds), 1)} if seconds else {}
