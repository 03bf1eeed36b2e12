"""The demo's report: bars published, windows that could be predicted, those that were, skill."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table

from ingest.bar import Bar
from model.features import complete_windows
from model.series import VALUES, Series, on_grid
from store.views import read_sql

Window = tuple[str, int]  # symbol, as_of (epoch ms)
_MADE: Final = """
SELECT symbol, epoch_ms(as_of) AS as_of, horizon, model_version, count(*) AS rows
FROM predictions_raw GROUP BY ALL
"""


@dataclass(frozen=True)
class DemoReport:
    """`reports/demo.json`.

    windows_predictable: windows that end in the replayed part and have every bar.
    predictions_parquet, predictions_topic: those of them with a prediction at every horizon.
    unexpected: predicted windows that are none of these (there must be none).
    duplicates_parquet: rows beyond the first with the same identity. skipped: replayed bars whose
    window lacks a bar. skill_vs_persistence, skill_by_symbol: one bar ahead, of log returns,
    all later than everything that was fitted.
    """

    bars_published: int
    windows_predictable: int
    predictions_parquet: int
    predictions_topic: int
    unexpected: int
    duplicates_parquet: int
    skipped: int
    skill_vs_persistence: float | None
    skill_by_symbol: dict[str, float | None]
    seconds: float
    model_version: str
    horizons: list[int]

    @property
    def complete(self) -> bool:
        """Whether each predictable window was predicted, once, in both places."""
        return (
            0 < self.windows_predictable == self.predictions_parquet == self.predictions_topic
            and self.duplicates_parquet == self.unexpected == 0
        )

    def save(self, file: Path) -> None:
        """Write it as JSON."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(self), indent=2) + "\n")

    def print(self, console: Console) -> None:
        """Show it as a table, and the verdict as a line."""
        table = Table("", "value", title="demo")
        for name, value in asdict(self).items():
            for of, one in value.items() if isinstance(value, dict) else [("", value)]:
                shown = f"{one:.4g}" if isinstance(one, float) else str(one)
                table.add_row(f"{name} {of}".strip(), shown)
        console.print(table)
        if self.complete:
            console.print("Every window that could be predicted was, in Parquet and on the topic.")


def series_of(bars: Iterable[Bar]) -> list[Series]:
    """Bars, ascending within each symbol, as arrays on the grid."""
    by_symbol: dict[str, list[Bar]] = defaultdict(list)
    for bar in bars:
        by_symbol[bar.symbol].append(bar)
    times = attrgetter("open_time")
    values = attrgetter(*VALUES)
    return [
        on_grid(symbol, found[0].interval, map(times, found), np.array([*map(values, found)]))
        for symbol, found in by_symbol.items()
    ]


def predictable_windows(bars: Iterable[Bar], lookback: int, since_ms: int) -> set[Window]:
    """The windows with every bar whose last bar opens at or after `since_ms`."""
    found: set[Window] = set()
    for series in series_of(bars):
        ends = np.flatnonzero(complete_windows(series.close, lookback))
        as_of = series.close_times(ends)
        found |= {(series.symbol, int(t)) for t in as_of[as_of > since_ms]}
    return found


def parquet_rows(warehouse_dir: Path, table: str) -> int:
    """How many rows a table has by now."""
    count = read_sql(warehouse_dir, f"SELECT count(*) AS rows FROM {table}_raw")["rows"]
    return int(count.iloc[0])


def parquet_predictions(warehouse_dir: Path, horizons: int) -> tuple[set[Window], int]:
    """Windows with a prediction at every horizon, and the number of rows beyond the first each."""
    made = read_sql(warehouse_dir, _MADE)
    complete = made.groupby(["symbol", "as_of"])["horizon"].nunique() == horizons
    windows = {(str(symbol), int(as_of)) for symbol, as_of in complete.index[complete]}
    return windows, int((made["rows"] - 1).sum())
