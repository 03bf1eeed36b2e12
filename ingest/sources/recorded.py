"""Bars from a file, of any form that `ingest.recorded` reads."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from conf.timeframes import TIMEFRAME_MS
from ingest.bar import Bar, log_rejected
from ingest.recorded.bars import GOOD, REASONS, read_recorded
from ingest.recorded.content import name_of
from ingest.sources.rows import VALUES, bar_of

# Rows that become bars together: enough to make it cheap, few enough to hold little.
BLOCK_ROWS: Final = 8_192


@dataclass(frozen=True, slots=True)
class Recording:
    """One file of bars of one symbol at one timeframe."""

    path: Path
    symbol: str
    interval: str


def read_bars(
    path: Path | str,
    symbol: str,
    timeframe: str,
    *,
    now_ms: int | None = None,
    earliest_ms: int = 0,
    on_rejected: Callable[[Bar, str], None] = log_rejected,
) -> Iterator[Bar]:
    """Yield the file's good bars in the order of time, each time once.

    A row that breaks a rule goes to `on_rejected` with the reason and, in its source, its line;
    without one it is logged. `fetched_at` is the bar's close time: what a live source would have
    shown at the earliest. `now_ms`, `earliest_ms` and errors as in `read_recorded`.
    """
    recorded = read_recorded(Path(path), symbol, timeframe, now_ms, earliest_ms)
    name, bar_ms = f"recorded:{name_of(Path(path))}", TIMEFRAME_MS[timeframe]
    for first in range(0, len(recorded.broken), BLOCK_ROWS):
        block = recorded.rows.at(slice(first, first + BLOCK_ROWS))
        broken = recorded.broken[first : first + BLOCK_ROWS]
        columns = (block.open_time, *block.values.values(), block.line, broken)
        rows = zip(*(np.asarray(column).tolist() for column in columns), strict=True)
        for open_time, *values, line, reason in rows:
            # NaN: the file does not tell it
            held = [*values[:VALUES], *(v if v == v else None for v in values[VALUES:])]
            good = reason == GOOD
            seen = (name if good else f"{name}:{line}", open_time + bar_ms)
            bar = bar_of((symbol, timeframe), open_time, held, seen)
            if good:
                yield bar
            else:
                on_rejected(bar, REASONS[reason])
