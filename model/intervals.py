"""Prediction intervals: split conformal, scaled by recent volatility, adapted to live coverage.

The residual of a past forecast is its absolute error over `scale * sqrt(horizon)`. On data that was
not trained on, the right quantile of the residuals is the half-width that covers as often as
promised if the future resembles the past (split conformal: Lei et al. 2018, scaled scores). Where
it does not, the factor follows the misses: adaptive conformal inference (Gibbs and Candes 2021) in
the form that tracks the quantile itself (Angelopoulos, Candes and Tibshirani 2023), on a log scale,
so that a factor stays positive.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Keeps a factor finite when every forecast, or none, has hit for days.
_MAX_LOG_FACTOR: Final = math.log(20.0)


def conformal_half_width(residuals: Floats, coverage: float) -> Floats:
    """The half-width that covers the next residual with probability `coverage`, per horizon.

    `residuals` (n_windows, n_horizons) are absolute; the quantile is the finite-sample one, the
    `ceil((n + 1) * coverage)`-th smallest. Returns (n_horizons,).

    >>> conformal_half_width(np.arange(1.0, 20.0)[:, None], 0.9).tolist()
    [18.0]
    """
    rank = min(len(residuals), math.ceil((len(residuals) + 1) * coverage))
    return np.asarray(np.sort(residuals, axis=0)[rank - 1])


def adapt_factor(
    factor: float, covered: NDArray[np.bool_], coverage: float, rate: Floats | float
) -> float:
    """The interval factor after these outcomes, each of a forecast made with the factor before.

    `rate` is that of all, or of each.

    A miss widens by `rate * coverage`, a hit narrows by `rate * (1 - coverage)`, on a log scale: in
    the long run the two balance where the promised share is covered.

    >>> round(adapt_factor(1.0, np.array([True] * 9 + [False]), coverage=0.9, rate=0.05), 6)
    1.0
    >>> adapt_factor(1.0, np.array([False]), coverage=0.9, rate=0.05) > 1
    True
    """
    moved = math.log(factor) + float(np.sum(rate * (coverage - covered)))
    return math.exp(min(max(moved, -_MAX_LOG_FACTOR), _MAX_LOG_FACTOR))


def adapt_online(
    residuals: Floats, horizon: int, coverage: float, rate: float
) -> NDArray[np.bool_]:
    """Which forecasts are covered when the factor follows each outcome as soon as it is known.

    `residuals` (n_windows,) in order of time are absolute errors over the half-width before any
    factor. The factor of a forecast knows only outcomes `horizon` or more forecasts back, as it
    would live.

    >>> residuals = np.random.default_rng(1).exponential(size=5000)
    >>> bool(abs(adapt_online(residuals, 5, coverage=0.9, rate=0.05).mean() - 0.9) < 0.005)
    True
    """
    log_factor = np.zeros(len(residuals) + 1)
    covered = np.zeros(len(residuals), dtype=bool)
    log_residuals = np.log(np.maximum(residuals, 1e-12))
    for i in range(len(residuals)):
        known = i - horizon
        moved = rate * (coverage - covered[known]) if known >= 0 else 0.0
        log_factor[i] = min(max(log_factor[i - 1] + moved, -_MAX_LOG_FACTOR), _MAX_LOG_FACTOR)
        covered[i] = log_residuals[i] <= log_factor[i]
    return covered
