"""Is a difference more than chance? Diebold-Mariano for errors, Wilson for shares."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
_Z95: Final = 1.959963984540054


@dataclass(frozen=True)
class DieboldMariano:
    """`statistic` is negative where the first forecaster errs less.

    `p_value` is two-sided; `p_better` is one-sided: how likely such a lead of the first forecaster
    is where neither is better.
    """

    statistic: float
    p_value: float
    p_better: float


def diebold_mariano(loss: Floats, other_loss: Floats, horizon: int) -> DieboldMariano:
    """Compare the losses of two forecasters over the same windows, in order of time.

    Diebold and Mariano 1995, with the correction of Harvey, Leybourne and Newbold 1997 and
    Student's distribution. The variance is Newey and West's over `horizon - 1` lags or the cube
    root of the count, whichever is more: minutes of high volatility come together. Equal losses
    give 0 and p-values of 1.

    >>> noise = np.random.default_rng(1).normal(size=500) ** 2
    >>> diebold_mariano(noise, noise + 0.1, horizon=1).p_better < 0.01
    True
    >>> diebold_mariano(noise, noise, horizon=1)
    DieboldMariano(statistic=0.0, p_value=1.0, p_better=1.0)
    """
    difference = loss - other_loss
    count = len(difference)
    lags = min(max(horizon - 1, round(count ** (1 / 3))), count - 1)
    variance = _long_run_variance(difference, lags)
    if count < 3 or not variance > 0:
        return DieboldMariano(0.0, 1.0, 1.0)
    small_sample = (count + 1 - 2 * horizon + horizon * (horizon - 1) / count) / count
    statistic = float(difference.mean() / math.sqrt(variance / count))
    statistic *= math.sqrt(max(small_sample, 1 / count))
    p_better = float(stats.t.cdf(statistic, df=count - 1))
    return DieboldMariano(statistic, 2 * min(p_better, 1 - p_better), p_better)


def wilson_interval(successes: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927); (0, 1) of nothing.

    >>> low, high = wilson_interval(50, 100)
    >>> round(low, 3), round(high, 3)
    (0.404, 0.596)
    """
    if count == 0:
        return 0.0, 1.0
    share, z2 = successes / count, _Z95**2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z95 * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    return centre - half, centre + half


def _long_run_variance(values: Floats, lags: int) -> float:
    """Variance of the mean, times the count, with Bartlett weights on the autocovariances."""
    centred = values - values.mean()
    total = float(centred @ centred)
    for lag in range(1, lags + 1):
        total += 2 * (1 - lag / (lags + 1)) * float(centred[lag:] @ centred[:-lag])
    return total / len(values)
