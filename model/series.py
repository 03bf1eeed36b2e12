"""Bars of one symbol as an array, a row a bar."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from conf.timeframes import TIMEFRAME_MS
from model.layout import CLOSE, Layout, needed_close, only

Floats = NDArray[np.float64]
# What a model reads of a bar, in this order: in training, in evaluation and in the stream, whose
# window state holds just these.
VALUES: Final = ("open", "high", "low", "close", "base_volume", "quote_volume")
# A longer gap takes so many rows, so that memory follows the bars that there are, not the years
# that one odd bar spans. A day of minutes.
LONGEST_GAP_BARS: Final = 1_440


@dataclass(frozen=True)
class Series:
    """The bars of one symbol, in order of time, a row each.

    `bars` (n_bars, n_columns) as in `model.layout`: open, high, low, close, base_volume,
    quote_volume, until `model.news.with_news` and `model.leaders.with_leaders` put more columns
    behind them. A missing bar is a row of NaN; an unknown quote volume is NaN alone.
    `first_open_time` is epoch milliseconds UTC. `leaders` are the names of those whose columns
    there are, None in the place of one that the series has not.

    Row `i` opens at `first_open_time + i * bar_ms`, later behind a cut: each of `cuts` is a row and
    how many missing bars have no row before it. Rows of NaN lie in front of it, too.

    ```
     time    0 1 2 . . . . . . . . . . 13 14      . missing
     rows    0 1 2 . . . .             7  8       cuts = ((7, 6),)
    ```
    """

    symbol: str
    interval: str
    first_open_time: int
    bars: Floats
    cuts: tuple[tuple[int, int], ...] = ()
    leaders: tuple[str | None, ...] = ()

    @property
    def close(self) -> Floats:
        """Closing prices (n_bars,)."""
        return self.bars[:, CLOSE]

    @property
    def needed_close(self) -> Floats:
        """The same, NaN also where a leader's bar is missing: no window with it is complete."""
        return needed_close(self.bars, self.leaders)

    @property
    def layout(self) -> Layout:
        """Which columns `bars` has."""
        return Layout.of(self.bars)

    def reading(self, news: bool, leaders: bool) -> "Series":
        """The series with no columns but its own, of the news and of leaders where asked for."""
        kept = self.leaders if leaders else ()
        return replace(self, bars=only(self.bars, news, leaders), leaders=kept)

    @property
    def bar_ms(self) -> int:
        """Length of a bar in milliseconds."""
        return TIMEFRAME_MS[self.interval]

    @property
    def end_time(self) -> int:
        """Close time of the last bar, epoch milliseconds UTC."""
        return int(self.open_times(np.array(len(self.bars))))

    def open_times(self, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """When the bars of these rows open, epoch milliseconds UTC."""
        rows = np.asarray(rows, np.int64)
        at, before = self._cuts()
        bars: NDArray[np.int64] = rows + before[np.searchsorted(at, rows, side="right")]
        return self.first_open_time + bars * self.bar_ms

    def close_times(self, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """When the bars of these rows close, epoch milliseconds UTC."""
        return self.open_times(rows) + self.bar_ms

    def rows_closing(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of the bars that close at these times; the inverse of `close_times`.

        A bar that a cut has left out has the row of NaN before the cut.
        """
        at, before = self._cuts()
        bars: NDArray[np.int64] = (
            np.asarray(times, np.int64) - self.first_open_time
        ) // self.bar_ms - 1
        cut = np.searchsorted(at + before[1:], bars, side="right")
        last = np.append(at - 1, np.iinfo(np.int64).max)
        rows: NDArray[np.int64] = np.minimum(bars - before[cut], last[cut])
        return rows

    def _cuts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows behind the cuts (n,), and the bars left out before the first, second ... of them
        and in all (n + 1,)."""
        at, left_out = np.array(self.cuts, np.int64).reshape(-1, 2).T
        return at, np.append(0, np.cumsum(left_out))

    def pieces(self) -> list[tuple[int, int]]:
        """The first row of each stretch between cuts, and the row behind its last."""
        borders = [0, *(row for row, _ in self.cuts if row < len(self.bars)), len(self.bars)]
        return list(itertools.pairwise(borders))

    @property
    def n_present(self) -> int:
        """How many bars are there, gaps not counted."""
        return int(np.count_nonzero(~np.isnan(self.close)))

    def until(self, time_ms: int) -> "Series":
        """The bars that are closed at `time_ms`."""
        count = max(0, int(self.rows_closing(np.array(time_ms))) + 1)
        return replace(self, bars=self.bars[:count])

    def since(self, time_ms: int) -> "Series":
        """The bars that open at `time_ms` or later, from the first that is there on."""
        opens = self.open_times(np.arange(len(self.bars)))
        (there,) = np.nonzero((opens >= time_ms) & ~np.isnan(self.close))
        first = int(there[0]) if len(there) else len(opens)
        cuts = tuple((row - first, left_out) for row, left_out in self.cuts if row > first)
        start = int(opens[first]) if first < len(opens) else self.end_time
        return replace(self, first_open_time=start, bars=self.bars[first:], cuts=cuts)


def newest_bars(all_series: Sequence[Series], count: int) -> list[Series]:
    """The newest bars of all series together, at most so many; series that have none of them are
    left out.

    >>> series = on_grid("BTC-USD", "1m", [0, 60_000, 120_000], np.ones((3, 6)))
    >>> [one.first_open_time for one in newest_bars([series, series], 4)]
    [60000, 60000]
    """
    opens = np.concatenate(
        [one.open_times(np.flatnonzero(~np.isnan(one.close))) for one in all_series]
    )
    if len(opens) <= count:
        return list(all_series)
    one_too_many = int(np.partition(opens, -count - 1)[-count - 1])
    newest = [one.since(one_too_many + 1) for one in all_series]
    return [one for one in newest if one.n_present]


def on_grid(symbol: str, timeframe: str, open_times: Iterable[int], bars: Floats) -> Series:
    """Lay bars that ascend in time out in rows, with rows of NaN where one is missing.

    >>> series = on_grid("BTC-USD", "1m", [0, 120_000], np.ones((2, 6)))
    >>> series.close.tolist()
    [1.0, nan, 1.0]
    """
    times = np.array(open_times if isinstance(open_times, np.ndarray) else list(open_times))
    since = (times.astype(np.int64) - times[0]) // TIMEFRAME_MS[timeframe]
    left_out = np.maximum(np.diff(since, prepend=0) - 1 - LONGEST_GAP_BARS, 0)
    rows = since - np.cumsum(left_out)
    laid_out = np.full((int(rows[-1]) + 1, 6), np.nan)
    laid_out[rows] = bars
    (behind,) = np.nonzero(left_out)
    cuts = tuple(zip(rows[behind].tolist(), left_out[behind].tolist(), strict=True))
    return Series(symbol, timeframe, int(times[0]), laid_out, cuts)
