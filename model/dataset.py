"""Which windows of which bars a model may learn from, and how they are fed to an LSTM.

Parts are stretches of time, the same for every symbol. A window belongs to a part if its last bar
and its farthest target lie in it; between two parts lies an embargo of a lookback and the farthest
target, so that no bar is seen by both.

Training feeds sequences, not windows: a feature of a bar is the same through every window, so one
pass over 2 * steps - 1 bars serves `steps` targets instead of one, at a fifteenth of the cost.

```
 sequence   f f f f f f f f f f f f f        f: features of a bar, 0 where one is missing
 weights    . . . . . . w w w w w w w        w: 0 where the window that ends here is not complete
            |--warm-up-|--- targets --|
```
"""

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.early import EARLY_BARS, LSTM_EARLY, columns, early_targets
from model.features import (
    bar_features,
    batches,
    complete_windows,
    feature_names,
    reading,
    sequence_steps,
    window_inputs,
    window_targets,
)
from model.series import LONGEST_GAP_BARS, Series

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Array = NDArray[np.float32]
# A target beyond this many volatilities says "extreme"; its size would drown all others. The LSTMs,
# which can bend to a single bar, are shown less of it than the line.
TARGET_LIMIT = 6.0
SEQUENCE_TARGET_LIMIT = 2.0
_ALL: Final = slice(None)


@dataclass(frozen=True)
class Span:
    """A stretch of time, epoch ms UTC: `start` included, `end` not."""

    start: int
    end: int


@dataclass(frozen=True)
class Windows:
    """The windows of a part, of all symbols, in the order of the series given.

    `bars` (n_bars, n_features): the features of every bar of all series behind one another, 0 where
    one is missing; those of series `i` begin at row `firsts[i]`, and `firsts` ends with n_bars.
    `ends` (n_windows,): the row of each window's last bar. `targets` (n_windows, n_horizons) in
    units of `scale * sqrt(horizon)`, not clipped; `early` (n_windows, len(EARLY)) as in
    `early_targets`; `scale` and `end_times` (n_windows,), the latter the close of the last bar,
    epoch ms UTC.
    """

    bars: Array
    firsts: tuple[int, ...]
    ends: NDArray[np.int64]
    lookback: int
    targets: Floats
    early: Floats
    scale: Floats
    end_times: NDArray[np.int64]
    feature_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.scale)

    @property
    def series(self) -> NDArray[np.int64]:
        """The number of the series that each window is of (n_windows,)."""
        return np.searchsorted(self.firsts, self.ends, side="right") - 1

    def features(self, chosen: Bools | slice = _ALL) -> Array:
        """What a network reads of the chosen windows: (n_chosen, steps, n_features), a copy thirty
        times as large as its share of `bars`: who has many windows asks for some at a time."""
        return window_inputs(self.bars, self.ends[chosen], self.lookback)

    def feature_batches(self, chosen: Bools | slice = _ALL) -> Iterator[Array]:
        """The same, some windows at a time."""
        return (window_inputs(self.bars, e, self.lookback) for e in batches(self.ends[chosen]))


@dataclass(frozen=True)
class Sequences:
    """Stretches of bars to train on.

    `rows` (n, 2 * steps - 1) of `bars`, as in Windows; `targets` (n, steps, n_horizons +
    len(LSTM_EARLY)) of the last `steps` of them, clipped; `weights` and `end_times` (n, steps) of
    their windows, both 0 where there is none.
    """

    bars: Array
    rows: NDArray[np.integer]
    targets: Array
    weights: Array
    end_times: NDArray[np.int64]
    feature_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)


def embargo_bars(lookback: int, horizons: Sequence[int]) -> int:
    """Bars that lie between two parts: a lookback and the farthest target, be it an early one.

    >>> embargo_bars(60, (1, 5, 15)), embargo_bars(60, (1,))
    (75, 65)
    """
    return lookback + max(*horizons, EARLY_BARS)


def covered(all_series: Sequence[Series], part: Span) -> list[Span]:
    """The stretches of `part` in which there are bars, in order; gaps that a series would fill with
    rows of NaN count as well.

    >>> from model.series import on_grid
    >>> series = on_grid("BTC-USD", "1m", [0, 6 * 10**10], np.ones((2, 6)))
    >>> covered([series], Span(0, 10**12))
    [Span(start=0, end=60000), Span(start=60000000000, end=60000060000)]
    """
    there = []
    for series in all_series:
        for first, stop in series.pieces():
            (present,) = np.nonzero(~np.isnan(series.close[first:stop]))
            if len(present):
                start, last = series.open_times(first + present[[0, -1]]).tolist()
                there.append((start, last + series.bar_ms))
    found: list[Span] = []
    for start, end in sorted(there):
        start, end = max(start, part.start), min(end, part.end)
        if start >= end:
            continue
        if found and start - found[-1].end <= LONGEST_GAP_BARS * all_series[0].bar_ms:
            found[-1] = Span(found[-1].start, max(end, found[-1].end))
        else:
            found.append(Span(start, end))
    return found


def newest_share(spans: Sequence[Span], share: float) -> int:
    """When the last `share` of the time of `spans`, which follow on one another, begins.

    >>> newest_share([Span(0, 10), Span(1000, 1090)], 0.2)
    1070
    """
    left = int(sum(span.end - span.start for span in spans) * share)
    for span in reversed(spans):
        if left <= span.end - span.start:
            break
        left -= span.end - span.start
    return span.end - left


def stretches(end_times: NDArray[np.int64], count: int) -> tuple[Span, ...]:
    """Cut windows into stretches of time that follow on one another, as many windows in each.

    >>> stretches(np.array([10, 20, 30, 40]), 2)
    (Span(start=10, end=25), Span(start=25, end=41))
    """
    borders = np.quantile(end_times, np.linspace(0, 1, count + 1)).astype(np.int64)
    borders[-1] += 1
    return tuple(Span(int(start), int(end)) for start, end in itertools.pairwise(borders))


def inside(end_times: NDArray[np.int64], stretch: Span) -> Bools:
    """Which windows belong to a stretch; the shape of `end_times`."""
    return (end_times >= stretch.start) & (end_times < stretch.end)


def apart(end_times: NDArray[np.int64], stretch: Span, embargo_ms: int) -> Bools:
    """Which windows lie so far from a stretch that they share no bar with it."""
    widened = Span(stretch.start - embargo_ms, stretch.end + embargo_ms)
    return ~inside(end_times, widened)


def window_ends(
    series: Series, part: Span, lookback: int, horizons: Sequence[int]
) -> NDArray[np.int64]:
    """Indices of the last bars of the windows of `part`, complete, with every target known."""
    complete = complete_windows(series.needed_close, lookback)
    known = ~np.isnan(series.close)
    for horizon in horizons:
        within = max(0, len(complete) - horizon)
        complete[:within] &= known[horizon:]
        complete[within:] = False
    closes = series.close_times(np.arange(len(complete)))
    complete &= (closes >= part.start) & (closes <= part.end - max(horizons) * series.bar_ms)
    return np.flatnonzero(complete)


def windows_of(
    all_series: Sequence[Series],
    part: Span,
    lookback: int,
    horizons: Sequence[int],
    without: Collection[str] = (),
) -> Windows:
    """Cut every window of `part` out of the series.

    Features that need a field of `without` are left out.
    """
    counts = [len(series.bars) for series in all_series]
    firsts = np.cumsum([0, *counts]).tolist()
    names = feature_names(all_series[0].layout)
    names = tuple(name for name in names if name not in reading(names, without))
    bars = np.empty((firsts[-1], len(names)), np.float32)
    found = []
    for first, series in zip(firsts, all_series, strict=False):
        ends = window_ends(series, part, lookback, horizons)
        features, volatility = bar_features(series.bars, lookback, names)
        bars[first : first + len(features)] = np.nan_to_num(features, copy=False)
        scale = volatility[ends]
        targets = window_targets(series.close, ends, scale, tuple(horizons))
        early = early_targets(series.until(part.end).bars, ends, scale)
        found.append((first + ends, targets, early, scale, series.close_times(ends)))
    ends, targets, early, scale, times = (np.concatenate(of) for of in zip(*found, strict=True))
    return Windows(bars, tuple(firsts), ends, lookback, targets, early, scale, times, names)


def sequences_of(windows: Windows) -> Sequences:
    """Cut the part of `windows`, of which there is one, into sequences; each window's targets occur
    once."""
    steps = sequence_steps(windows.lookback)
    # Of each row of `bars`: which window ends there, -1 where none does.
    window = np.full(len(windows.bars), -1, np.int64)
    window[windows.ends] = np.arange(len(windows))
    found = []
    for first, stop in itertools.pairwise(windows.firsts):
        (ends,) = np.nonzero(window[first:stop] >= 0)
        if len(ends) == 0:
            continue
        starts = np.arange(first + ends[0], first + ends[-1] + 1, steps)
        rows = starts[:, None] + np.arange(-(steps - 1), steps)
        # The last stretch may reach beyond the bars: those rows repeat and carry no weight.
        known = rows[:, steps - 1 :] < stop
        rows = np.clip(rows, first, stop - 1)
        aimed = np.where(known, window[rows[:, steps - 1 :]], -1)
        chosen = (aimed >= 0).any(axis=1)
        found.append((rows[chosen].astype(np.int32), aimed[chosen]))
    rows, aimed = (np.concatenate(of) for of in zip(*found, strict=True))
    there = aimed >= 0
    aims = columns(windows.targets, windows.early, [*LSTM_EARLY])
    targets = np.zeros((*aimed.shape, aims.shape[1]), np.float32)
    targets[there] = np.clip(aims, -SEQUENCE_TARGET_LIMIT, SEQUENCE_TARGET_LIMIT)[aimed[there]]
    times = np.where(there, windows.end_times[aimed], 0)
    weights = there.astype(np.float32)
    return Sequences(windows.bars, rows, targets, weights, times, windows.feature_names)
