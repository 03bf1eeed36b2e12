"""How far a price may move: the size expected of the log return to each horizon.

Where a price will go can't be told on most markets; how far can, since volatility comes in
stretches of many lengths at once. A line tells the logarithm of the expected size from averages of
several lengths, as in HAR (Corsi 2009) and with ranges, which say more than closes do (Parkinson
1980):

```
 log scale = log(volatility * sqrt(horizon)) + gain * (inputs @ kernel) + bias
```
The gain shrinks it towards the plain trailing volatility by what it showed on windows that it was
not fitted to, to none where it shows nothing.
"""

import math
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
# Over how many bars returns, ranges and volume are averaged; beside half the lookback, and all.
_RETURN_BARS: Final = (10,)
_RANGE_BARS: Final = (1, 3, 10)
_VOLUME_BARS: Final = (1, 5, 20)
# Added to a ratio before its logarithm is taken: a bar may have no range and no volume.
_LEAST_RATIO: Final = 0.05
# What the level of volatility is told against; any value would do.
_USUAL_VOLATILITY: Final = 1e-3
# What a network takes lies within.
_INPUT_LIMIT: Final = 20.0


@dataclass(frozen=True)
class SizeLine:
    """The line as it is served; `kernel` (n_inputs, n_horizons), `bias` (n_horizons,) with the
    gains folded in: the logarithm of the expected size over `volatility * sqrt(horizon)`. Inputs
    beyond `low` and `high` (n_inputs,) count as these: further out nothing was learned."""

    kernel: Array
    bias: Array
    low: Array
    high: Array


def size_inputs(bars: Floats, lookback: int, ends: Indices) -> Array:
    """What the line reads at the bars `ends`, (n_windows, n_inputs): logarithms of averages over
    the volatility there, and of that itself: high volatility comes down again, and low up.

    `bars` as in `bar_features`; each of the `ends` is the last bar of a complete window.
    """
    half = volatility_bars(lookback)

    def spans(*some: int) -> list[int]:
        return [min(one, lookback) for one in some]

    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        squared = np.append(np.nan, np.diff(np.log(bars[:, CLOSE]))) ** 2
        ranges = np.log(bars[:, HIGH] / bars[:, LOW])
        volatility = np.maximum(_rms(squared, half)[ends], MIN_VOLATILITY)
        volume = _mean(bars[:, BASE_VOLUME], lookback)[ends]
        ratios = [_rms(squared, n)[ends] / volatility for n in spans(*_RETURN_BARS, lookback)]
        ratios += [_mean(ranges, n)[ends] / volatility for n in spans(*_RANGE_BARS, half, lookback)]
        for span in spans(*_VOLUME_BARS):
            recent = _mean(bars[:, BASE_VOLUME], span)[ends]
            ratios.append(np.where(volume > 0, recent / volume, 1.0))
        level = np.log(volatility / _USUAL_VOLATILITY)
        logs = np.column_stack([np.log(np.stack(ratios, axis=1) + _LEAST_RATIO), level])
    inputs = np.nan_to_num(logs)
    return np.asarray(np.clip(inputs, -_INPUT_LIMIT, _INPUT_LIMIT), np.float32)


def _mean(values: Floats, span: int) -> Floats:
    return trailing_sum(values, span) / span


def _rms(squared: Floats, span: int) -> Floats:
    return np.sqrt(_mean(squared, span))
