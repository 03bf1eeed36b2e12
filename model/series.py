"""Bars of one symbol as an array on the timeframe's grid."""

import csv
import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from conf.errors import ConfigurationError
from conf.timeframes import TIMEFRAME_MS

Floats = NDArray[np.float64]
_FILE_HEADER: Final = ["time", "open", "high", "low", "close", "volumefrom", "volumeto"]


@dataclass(frozen=True)
class Series:
    """The bars of one symbol: row `i` of `bars` opens at `first_open_time + i * bar_ms`.

    `bars` (n_bars, 6): open, high, low, close, base_volume, quote_volume; (n_bars, 11) once
    `model.news.with_news` has put the columns of the news behind them. A missing bar is a row of
    NaN; an unknown quote volume is NaN alone. `first_open_time` is epoch milliseconds UTC.
    """

    symbol: str
    interval: str
    first_open_time: int
    bars: Floats

    @property
    def close(self) -> Floats:
        """Closing prices (n_bars,)."""
        return self.bars[:, 3]

    @property
    def bar_ms(self) -> int:
        """Length of a bar in milliseconds."""
        return TIMEFRAME_MS[self.interval]

    @property
    def end_time(self) -> int:
        """Close time of the last bar, epoch milliseconds UTC."""
        return self.first_open_time + len(self.bars) * self.bar_ms

    def close_times(self, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """When the bars of these rows close, epoch milliseconds UTC."""
        return self.first_open_time + (np.asarray(rows, np.int64) + 1) * self.bar_ms

    def rows_closing(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of the bars that close at these times; the inverse of `close_times`."""
        return (times - self.first_open_time) // self.bar_ms - 1

    @property
    def n_present(self) -> int:
        """How many bars are there, gaps not counted."""
        return int(np.count_nonzero(~np.isnan(self.close)))

    def until(self, time_ms: int) -> "Series":
        """The bars that are closed at `time_ms`."""
        count = max(0, (time_ms - self.first_open_time) // self.bar_ms)
        return Series(self.symbol, self.interval, self.first_open_time, self.bars[:count])


def on_grid(symbol: str, timeframe: str, open_times: Iterable[int], bars: Floats) -> Series:
    """Lay bars that ascend in time out on the grid, with rows of NaN where one is missing.

    >>> series = on_grid("BTC-USD", "1m", [0, 120_000], np.ones((2, 6)))
    >>> series.close.tolist()
    [1.0, nan, 1.0]
    """
    times = np.asarray(list(open_times), dtype=np.int64)
    rows = (times - times[0]) // TIMEFRAME_MS[timeframe]
    grid = np.full((int(rows[-1]) + 1, 6), np.nan)
    grid[rows] = bars
    return Series(symbol, timeframe, int(times[0]), grid)


def read_file(file: Path, symbol: str, timeframe: str | None = None) -> Series:
    """Read a recorded `*.csv.gz` file: `time` in unix seconds UTC, then the six values of a bar.

    Without `timeframe` it is the most frequent step between two bars. Raises ConfigurationError
    where the file is missing, has another header or holds no bar.
    """
    if not file.is_file():
        raise ConfigurationError(f"no file {file}")
    with gzip.open(file, "rt", newline="") as lines:
        rows = csv.reader(lines)
        header = next(rows, [])
        if header != _FILE_HEADER:
            raise ConfigurationError(f"{file}: expected {','.join(_FILE_HEADER)}, found {header}")
        values = [[float(value or "nan") for value in row] for row in rows]
    if not values:
        raise ConfigurationError(f"{file}: no bars")
    table = np.array(values)
    times = (table[:, 0] * 1000).astype(np.int64)
    return on_grid(symbol, timeframe or _frequent_step(times, file), times.tolist(), table[:, 1:])


def _frequent_step(times: NDArray[np.int64], file: Path) -> str:
    steps, counts = np.unique(np.diff(times), return_counts=True)
    step = int(steps[np.argmax(counts)]) if len(steps) else 0
    for name, length in TIMEFRAME_MS.items():
        if length == step:
            return name
    known = ", ".join(TIMEFRAME_MS)
    raise ConfigurationError(f"{file}: bars are mostly {step} ms apart, which is none of {known}")
