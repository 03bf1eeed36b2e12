"""Bars of one symbol as an array on the interval's grid."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conf.timeframes import TIMEFRAME_MS

Floats = NDArray[np.float64]


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
