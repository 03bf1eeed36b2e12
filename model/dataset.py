"""Which windows of which bars a model may learn from, and how they are fed to an LSTM.

Parts are stretches of time, the same for every symbol. A window belongs to a part if its last bar
and its farthest target lie in it; between two parts lies an embargo of a lookback and the farthest
horizon, so that no bar is seen by both.

Training feeds sequences, not windows: a feature of a bar is the same through every window, so one
pass over 2 * steps - 1 bars serves `steps` targets instead of one, at a fifteenth of the cost.

```
 sequence   f f f f f f f f f f f f f        f: features of a bar, 0 where one is missing
 weights    . . . . . . w w w w w w w        w: 0 where the window that ends here is not complete
            |--warm-up-|--- targets --|
```
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from model.early import LSTM_EARLY, columns, early_targets
from model.features import (
    bar_features,
    complete_windows,
    feature_names,
    sequence_steps,
    window_inputs,
    window_targets,
)
from model.series import Series

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Array = NDArray[np.float32]
# A target beyond this many volatilities says "extreme"; its size would drown all others. The LSTMs,
# which can bend to a single bar, are shown less of it than the line.
TARGET_LIMIT = 6.0
SEQUENCE_TARGET_LIMIT = 2.0


@dataclass(frozen=True)
class Span:
    """A stretch of time, epoch ms UTC: `start` included, `end` not."""

    start: int
    end: int


@dataclass(frozen=True)
class Windows:
    """The windows of a part, of all symbols, in the order of the series given.

    `features` (n_windows, steps, n_features); `targets` (n_windows, n_horizons) in units of
    `scale * sqrt(horizon)`, not clipped; `early` (n_windows, len(EARLY)) as in `early_targets`;
    `scale` and `end_times` (n_windows,), the latter the close of the last bar, epoch ms UTC.
    """

    features: Array
    targets: Floats
    early: Floats
    scale: Floats
    end_times: NDArray[np.int64]
    feature_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.scale)


@dataclass(frozen=True)
class Sequences:
    """Stretches of bars to train on.

    `inputs` (n, 2 * steps - 1, n_features); `targets` (n, steps, n_horizons + len(LSTM_EARLY)) of
    the last `steps` of them, clipped; `weights` and `end_times` (n, steps) of their windows.
    """

    inputs: Array
    targets: Array
    weights: Array
    end_times: NDArray[np.int64]
    feature_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.inputs)


Rows = TypeVar("Rows", Windows, Sequences)


def embargo_bars(lookback: int, horizons: Sequence[int]) -> int:
    """Bars that lie between two parts: a lookback and the farthest horizon.

    >>> embargo_bars(60, (1, 5, 15))
    75
    """
    return lookback + max(horizons)


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
    complete = complete_windows(series.close, lookback)
    known = ~np.isnan(series.close)
    for horizon in horizons:
        complete[: len(complete) - horizon] &= known[horizon:]
        complete[max(0, len(complete) - horizon) :] = False
    step = series.bar_ms
    first = -(-(part.start - series.first_open_time) // step) - 1
    stop = (part.end - series.first_open_time) // step - max(horizons)
    complete[: max(0, first)] = False
    complete[max(0, stop) :] = False
    return np.flatnonzero(complete)


def windows_of(
    all_series: Sequence[Series], part: Span, lookback: int, horizons: Sequence[int]
) -> Windows:
    """Cut every window of `part` out of the series."""
    found = []
    for series in all_series:
        ends, features, scale, targets, early = _learned(series, part, lookback, horizons)
        windows = window_inputs(features, ends, lookback)
        times, names = series.close_times(ends), feature_names(series.bars)
        found.append(Windows(windows, targets, early, scale, times, names))
    return _joined(found)


def sequences_of(
    all_series: Sequence[Series], part: Span, lookback: int, horizons: Sequence[int]
) -> Sequences:
    """Cut `part`, which has a complete window, into sequences; each window's targets occur once."""
    steps = sequence_steps(lookback)
    found = []
    for series in all_series:
        ends, features, _, targets, early = _learned(series, part, lookback, horizons)
        if len(ends) == 0:
            continue
        aims = columns(targets, early, [*LSTM_EARLY])
        target = np.zeros((len(features), aims.shape[1]), np.float32)
        target[ends] = np.clip(aims, -SEQUENCE_TARGET_LIMIT, SEQUENCE_TARGET_LIMIT)
        weight = np.zeros(len(features), np.float32)
        weight[ends] = 1.0
        starts = np.arange(ends[0], ends[-1] + 1, steps)
        rows = starts[:, None] + np.arange(-(steps - 1), steps)
        # The last stretch may reach beyond the bars: those rows repeat and carry no weight.
        known = rows[:, steps - 1 :] < len(features)
        rows = np.clip(rows, 0, len(features) - 1)
        aimed = rows[:, steps - 1 :]
        weights = weight[aimed] * known
        chosen = weights.any(axis=1)
        found.append(
            Sequences(
                np.nan_to_num(features[rows])[chosen],
                target[aimed][chosen],
                weights[chosen],
                series.close_times(aimed)[chosen],
                feature_names(series.bars),
            )
        )
    return _joined(found)


def _learned(
    series: Series, part: Span, lookback: int, horizons: Sequence[int]
) -> tuple[NDArray[np.int64], Array, Floats, Floats, Floats]:
    """The ends of the windows of `part`, the features of every bar of the series, and the scale,
    targets and early targets of each window."""
    ends = window_ends(series, part, lookback, horizons)
    features, volatility = bar_features(series.bars, lookback)
    scale = volatility[ends]
    targets = window_targets(series.close, ends, scale, tuple(horizons))
    return ends, features, scale, targets, early_targets(series.until(part.end).bars, ends, scale)


def _joined(parts: Sequence[Rows]) -> Rows:
    """The rows of several parts behind one another."""
    names = [field.name for field in fields(parts[0]) if field.name != "feature_names"]
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in names
    }
    return replace(parts[0], **arrays)
