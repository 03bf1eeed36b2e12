"""Prediction intervals and quantiles: split conformal, scaled, adapted to live coverage.

The residual of a past forecast is its absolute error over the size expected of the move
(`model.size`). On data that was not trained on, the right quantile of the residuals is the
half-width that covers as often as promised if the future resembles the past (split conformal: Lei
et al. 2018, scaled scores). Where it does not, the factor follows the misses: adaptive conformal
inference (Gibbs and Candes 2021) in the form that tracks the quantile itself (Angelopoulos, Candes
and Tibshirani 2023), on a log scale, so that a factor stays positive.

The quantiles lie around the forecast: those at 5 and 95 % are the ends of the interval that covers
90 %, and so on; the median is the forecast.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Keeps a factor finite when every forecast, or none, has hit for days.
_MAX_LOG_FACTOR: Final = math.log(20.0)
# The quantiles of a prediction by the names of their columns.
QUANTILES: Final = {
    "q05": 0.05,
    "q10": 0.10,
    "q25": 0.25,
    "q50": 0.50,
    "q75": 0.75,
    "q90": 0.90,
    "q95": 0.95,
}
# The intervals whose ends they are.
CENTRAL: Final = (0.5, 0.8, 0.9)
# Where the price never moved an interval has a width all the same, far below any tick, so that
# errors can be divided by it. In units of what it is scaled by.
SMALLEST_HALF_WIDTH: Final = 1e-3
UPPER: Final = ("q75", "q90", "q95")
# Of a normal distribution, where fewer errors than these are known.
_NORMAL: Final = (0.6745, 1.2816, 1.6449)
_LEAST_CALIBRATED: Final = 50


def coverages(coverage: float) -> tuple[float, ...]:
    """The intervals that are calibrated where `lower..upper` should cover so much, ascending.

    >>> coverages(0.9), coverages(0.85)
    ((0.5, 0.8, 0.9), (0.5, 0.8, 0.85, 0.9))
    """
    return tuple(sorted({*CENTRAL, coverage}))


def ends_of(coverage: float, promised: float) -> tuple[str, str]:
    """The columns that hold the ends of an interval, where `lower..upper` covers `promised`.

    >>> ends_of(0.5, 0.9), ends_of(0.85, 0.85)
    (('q25', 'q75'), ('lower', 'upper'))
    """
    if coverage == promised:
        return "lower", "upper"
    low, high = (name for name, at in QUANTILES.items() if math.isclose(abs(2 * at - 1), coverage))
    return low, high


def named(ends: Floats, calibrated: Sequence[float]) -> dict[str, Floats]:
    """The quantiles by name, each (...): NaN where no interval ends there.

    `ends` (..., 2 * n_intervals + 1) of the intervals that cover `calibrated`, around their middle,
    ascending.

    >>> found = named(np.array([[0.25, 0.5, 1.0, 1.5, 1.75]]), (0.5, 0.9))
    >>> {name: float(at[0]) for name, at in found.items()}
    {'q05': 0.25, 'q10': nan, 'q25': 0.5, 'q50': 1.0, 'q75': 1.5, 'q90': nan, 'q95': 1.75}
    """
    upper = [(1 + coverage) / 2 for coverage in calibrated]
    levels = [*(1 - level for level in reversed(upper)), 0.5, *upper]
    by_level = {round(level, 6): ends[..., place] for place, level in enumerate(levels)}
    nothing = np.full(ends.shape[:-1], np.nan)
    return {name: by_level.get(level, nothing) for name, level in QUANTILES.items()}


def conformal_half_width(residuals: Floats, coverage: float) -> Floats:
    """The half-width that covers the next residual with probability `coverage`, per horizon.

    `residuals` (n_windows, n_horizons) are absolute; the quantile is the finite-sample one, the
    `ceil((n + 1) * coverage)`-th smallest. Returns (n_horizons,).

    >>> conformal_half_width(np.arange(1.0, 20.0)[:, None], 0.9).tolist()
    [18.0]
    """
    rank = min(len(residuals), math.ceil((len(residuals) + 1) * coverage))
    return np.asarray(np.sort(residuals, axis=0)[rank - 1])


def central_widths(residuals: Floats) -> Floats:
    """The half-widths of CENTRAL by the conformal step, (n_horizons, n_intervals); those of a
    normal distribution where there are too few residuals (n_windows, n_horizons)."""
    if len(residuals) < _LEAST_CALIBRATED:
        return np.tile(_NORMAL, (residuals.shape[1], 1))
    widths = [conformal_half_width(residuals, one) for one in CENTRAL]
    return np.maximum(np.stack(widths, axis=1), SMALLEST_HALF_WIDTH)


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
    factor.

    >>> residuals = np.random.default_rng(1).exponential(size=5000)
    >>> bool(abs(adapt_online(residuals, 5, coverage=0.9, rate=0.05).mean() - 0.9) < 0.005)
    True
    """
    one, promised = residuals[:, None], np.array([coverage])
    return np.asarray(residuals <= online_factors(one, horizon, promised, rate)[:, 0])


def online_factors(residuals: Floats, horizon: int, coverage: Floats, rate: float) -> Floats:
    """The factor of each forecast when it follows each outcome as soon as it is known.

    `residuals` (n_windows, n_intervals) in order of time are absolute errors over the half-width
    before any factor, `coverage` (n_intervals,). The factor of a forecast knows only outcomes
    `horizon` or more forecasts back, as it would live. Returns the shape of `residuals`.
    """
    log_factors, now = np.zeros(residuals.shape), np.zeros(residuals.shape[1])
    steps = np.zeros(residuals.shape)
    log_residuals = np.log(np.maximum(residuals, 1e-12))
    for i in range(len(residuals)):
        if i >= horizon:
            now = np.clip(now + steps[i - horizon], -_MAX_LOG_FACTOR, _MAX_LOG_FACTOR)
        log_factors[i] = now
        steps[i] = rate * (coverage - (log_residuals[i] <= now))
    return np.exp(log_factors)
