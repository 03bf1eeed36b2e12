"""What the demo shows while it runs: the newest predictions, and the actual closes."""

import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from rich.table import Table

from conf.errors import MalformedBar, MalformedRecord
from conf.shown import shown_price
from dashboard.records import prediction
from ingest.bar import Bar

ROWS: Final = 12
# One bar ahead: people can follow it with their eyes.
SHOWN_HORIZON: Final = 1

Identity = tuple[str, str, int, int]


@dataclass
class DemoTable:
    """Predictions of the topic, joined to the closes that have been published since.

    A prediction is scored when the bar that ends at its target time has been published, and not
    before.
    """

    closes: dict[tuple[str, int], float] = field(default_factory=dict)
    seen: set[Identity] = field(default_factory=set)
    waiting: deque[dict[str, Any]] = field(default_factory=deque)
    newest: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=ROWS))
    error_sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    persistence_sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    scored: int = 0

    def add_bars(self, messages: Iterable[bytes]) -> None:
        """Take messages of the topic `bars`."""
        for message in messages:
            with suppress(MalformedBar):
                bar = Bar.from_json(message)
                if bar.rejection_reason(_now_ms()) is None:
                    self.closes[bar.symbol, bar.close_time] = bar.close

    def add_predictions(self, messages: Iterable[bytes]) -> None:
        """Take messages of the topic `predictions`; a repetition changes nothing."""
        for message in messages:
            try:
                row = prediction(message, _now_ms())
            except MalformedRecord:
                continue
            identity = (row["symbol"], row["interval"], row["as_of"], row["horizon"])
            if identity not in self.seen:
                self.seen.add(identity)
                if row["horizon"] == SHOWN_HORIZON:
                    self.waiting.append(row)
                    self.newest.append(row)

    def settle(self) -> None:
        """Score the predictions whose actual close is known by now."""
        for _ in range(len(self.waiting)):
            row = self.waiting.popleft()
            actual = self.closes.get((row["symbol"], row["target_time"]))
            if actual is None:
                self.waiting.append(row)
                continue
            moved = math.log(actual / row["last_close"])
            forecast = math.log(row["predicted_close"] / row["last_close"])
            self.error_sums[row["symbol"]] += (moved - forecast) ** 2
            self.persistence_sums[row["symbol"]] += moved**2
            self.scored += 1

    def windows(self, horizons: int) -> set[tuple[str, int]]:
        """Symbol and as_of of each window that has been predicted at every horizon."""
        counts = Counter((symbol, as_of) for symbol, _, as_of, _ in self.seen)
        return {window for window, count in counts.items() if count == horizons}

    @property
    def skill(self) -> float | None:
        """1 - MSE / MSE of persistence, on log returns; None before anything is scored."""
        return _skill(sum(self.error_sums.values()), sum(self.persistence_sums.values()))

    @property
    def skills(self) -> dict[str, float | None]:
        """The same of each symbol."""
        sums = sorted(self.persistence_sums.items())
        return {symbol: _skill(self.error_sums[symbol], of_none) for symbol, of_none in sums}

    def render(self) -> Table:
        """The newest predictions as a table, times in UTC."""
        skill = "-" if self.skill is None else f"{self.skill:+.2%}"
        table = Table(title=f"skill over persistence {skill} on {self.scored} predictions")
        columns = ("as of, UTC", "symbol", "last close", "predicted", "90 % within", "actual")
        for column in columns:
            table.add_column(column, justify="right")
        for row in self.newest:
            actual = self.closes.get((row["symbol"], row["target_time"]))
            inside = actual is not None and row["lower"] <= actual <= row["upper"]
            style = "dim" if actual is None else "" if inside else "yellow"
            table.add_row(
                datetime.fromtimestamp(row["as_of"] / 1000, UTC).strftime("%m-%d %H:%M"),
                row["symbol"],
                shown_price(row["last_close"]),
                shown_price(row["predicted_close"]),
                f"{shown_price(row['lower'])} to {shown_price(row['upper'])}",
                "not yet" if actual is None else shown_price(actual),
                style=style,
            )
        return table


def _skill(errors: float, of_none: float) -> float | None:
    return 1 - errors / of_none if of_none else None


def _now_ms() -> int:
    return int(time.time() * 1000)
