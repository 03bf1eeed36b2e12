"""How far a price may move: the size expected of the log return to each horizon.

Where a price will go can't be told on most markets; how far can, since volatility comes in
stretches of many lengths at once, and each fades towards what is usual. A line tells the logarithm
of the expected size from averages of several lengths, as in HAR (Corsi 2009), with ranges, which
say more than closes do (Parkinson 1980):

```
 log scale = log(volatility * sqrt(horizon)) + inputs @ kernel + bias
```
The kernel is the same for every market: over the volatility there, the inputs of all are alike
(Bollerslev et al. 2018), and a series of its own is too short to tell it better
(docs/lab/spread.md). What a model learns of a series is its usual volatility, and the bias.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.features import MIN_VOLATILITY, Indices, trailing_sum, volatility_bars
from model.layout import BASE_VOLUME, CLOSE, HIGH, LOW

Floats = NDArray[np.float64]
Array = NDArray[np.float32]
# The mean size of a normal return of volatility 1: what a model without a line of its own expects.
NORMAL_SIZE: Final = math.sqrt(2 / math.pi)
# The kernel at these horizons, in bars; between two it is that of a line over the logarithm.
_HORIZONS: Final = (1, 5, 15, 30, 60)
_KERNEL: Final = {
    "recent": (0.52, 0.53, 0.30, 0.32, 0.14),
    "range_1": (0.05, 0.02, -0.01, -0.01, -0.01),
    "range_3": (0.07, 0.02, 0.04, 0.02, 0.04),
    "range_60": (0.28, 0.16, 0.19, 0.01, -0.07),
    "volume_1": (0.05, 0.05, 0.03, 0.02, 0.02),
    "volume_5": (0.07, 0.05, 0.03, 0.04, 0.03),
    "volume_20": (0.01, 0.01, 0.02, 0.03, 0.04),
    "level": (-0.20, -0.40, -0.55, -0.75, -0.90),
}
# Fewer forecasts of the last week say nothing about what is usual.
LEAST_OF_A_WEEK: Final = 100
# Over how many bars ranges and volume are averaged, beside the whole lookback.
_RANGE_BARS: Final = (1, 3)
_VOLUME_BARS: Final = (1, 5, 20)
# Recent volatility: each bar further back weighs this much less, and this much of its variance is
# that of the range, of which a random walk has four times the logarithm of two.
_DECAY: Final = 0.92
_OF_RANGES: Final = 0.6
_RANGE_VARIANCE: Final = 4 * math.log(2)
# Added to a ratio before its logarithm is taken: a bar may have no range and no volume.
_LEAST_RATIO: Final = 0.05
# Further from what is usual nothing was learned.
_RATIO_LIMIT: Final = 2.0
_LEVEL_LIMIT: Final = 1.5


@dataclass(frozen=True)
class SizeLine:
    """The line as it is served; `kernel` (n_inputs, n_horizons), `bias` (n_horizons,): the
    logarithm of the expected size over `volatility * sqrt(horizon)`."""

    kernel: Array
    bias: Array


def size_kernel(horizons: Sequence[int]) -> Floats:
    """The kernel (n_inputs, n_horizons) at these horizons.

    >>> size_kernel((1, 60, 90))[-1].tolist()
    [-0.2, -0.9, -0.9]
    """
    at = np.log(horizons)
    return np.stack([np.interp(at, np.log(_HORIZONS), row) for row in _KERNEL.values()])


def size_inputs(
    bars: Floats, lookback: int, ends: Indices, usual: Floats | float = math.nan
) -> Array:
    """What the line reads at the bars `ends`, (n_windows, n_inputs): logarithms of averages over
    the volatility there, and last of that over the `usual` one: high volatility comes down again,
    and low up.

    `bars` as in `bar_features`; each of the `ends` is the last bar of a complete window; `usual`
    (n_windows,) is NaN where it is not known, and then counts as what is there.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        squared = np.append(np.nan, np.diff(np.log(bars[:, CLOSE]))) ** 2
        ranges = np.log(bars[:, HIGH] / bars[:, LOW])
        volume = bars[:, BASE_VOLUME]
        volatility = np.sqrt(_mean(squared, volatility_bars(lookback))[ends])
        volatility = np.maximum(volatility, MIN_VOLATILITY)
        mixed = (1 - _OF_RANGES) * squared + _OF_RANGES * ranges**2 / _RANGE_VARIANCE
        ratios = [np.sqrt(_mean(mixed, lookback, _DECAY)[ends]) / volatility]
        for span in (*_RANGE_BARS, lookback):
            ratios.append(_mean(ranges, min(span, lookback))[ends] / volatility)
        whole = _mean(volume, lookback)[ends]
        for span in _VOLUME_BARS:
            recent = _mean(volume, min(span, lookback))[ends]
            ratios.append(np.where(whole > 0, recent / whole, 1.0))
        logs = np.log(np.stack(ratios, axis=1) + _LEAST_RATIO)
        level = np.clip(np.log(volatility / usual), -_LEVEL_LIMIT, _LEVEL_LIMIT)
    inputs = np.column_stack([np.clip(logs, -_RATIO_LIMIT, _RATIO_LIMIT), level])
    return np.asarray(np.nan_to_num(inputs), np.float32)


def _mean(values: Floats, span: int, decay: float = 1.0) -> Floats:
    """Over each value and the `span - 1` before it, one of `age` bars weighing `decay ** age`."""
    weight = span if decay == 1.0 else (1 - decay**span) / (1 - decay)
    return trailing_sum(values, span, decay) / weight
