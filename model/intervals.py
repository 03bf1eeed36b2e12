"""Prediction intervals: split conformal, scaled by recent volatility, adapted to live coverage.

The score of a past forecast is its absolute error over `scale * sqrt(horizon)`. On data that was
not trained on, the right quantile of the scores is the half-width that covers as often as promised
if the future resembles the past (split conformal: Lei et al. 2018, scaled scores). Where it does
not, the factor follows the misses: adaptive conformal inference (Gibbs and Candes 2021) in the form
that tracks the quantile itself (Angelopoulos, Candes and Tibshirani 2023), on a log scale, so that
a factor stays positive.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Keeps a factor finite when every forecast, or none, has hit for days.
_MAX_LOG_FACTOR: Final = math.log(20.0)


def conformal_half_width(scores: Floats, coverage: float) -> Floats:
    """The half-width that covers the next score with probability `coverage`, per horizon.

    `scores` (n_windows, n_horizons) are absolute; the quantile is the finite-sample one, the
    `ceil((n + 1) * coverage)`-th smallest. Returns (n_horizons,).

    >>> conformal_half_width(np.arange(1.0, 20.0)[:, None], 0.9).tolist()
    [18.0]
    """
    rank = min(len(scores), math.ceil((len(scores) + 1) * coverage))
    half_width: Floats = np.sort(scores, axis=0)[rank - 1]
    return half_width


def adapt_factor(factor: float, covered: NDArray[np.bool_], coverage: float, rate: float) -> float:
    """The interval factor after these outcomes, each of a forecast made with the factor before.

    A miss widens by `rate * coverage`, a hit narrows by `rate * (1 - coverage)`, on a log scale: in
    the long run the two balance where the promised share is covered.

    >>> round(adapt_factor(1.0, np.array([True] * 9 + [False]), coverage=0.9, rate=0.05), 6)
    1.0
    >>> adapt_factor(1.0, np.array([False]), coverage=0.9, rate=0.05) > 1
    True
    """
    moved = math.log(factor) + rate * float(np.sum(coverage - covered))
    return math.exp(min(max(moved, -_MAX_LOG_FACTOR), _MAX_LOG_FACTOR))
