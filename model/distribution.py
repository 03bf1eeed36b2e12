"""Scores of a distribution that is given by its quantiles, each lower where it is better.

Gneiting and Raftery 2007. Quantiles, actual moves and sizes are log returns.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.intervals import QUANTILES

Floats = NDArray[np.float64]
LEVELS: Final = np.array(list(QUANTILES.values()))


def symmetric(centre: Floats, widths: Floats) -> Floats:
    """Quantiles (..., n_levels) from a centre (...) and the half-widths (..., n_intervals) of
    intervals around it, ascending.

    >>> symmetric(np.array([0.0]), np.array([[1.0, 2.0, 3.0]])).tolist()
    [[-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]]
    """
    middle = np.zeros((*widths.shape[:-1], 1))
    offsets = np.concatenate([-widths[..., ::-1], middle, widths], axis=-1)
    return np.asarray(centre[..., None] + offsets)


def pinball(actual: Floats, quantiles: Floats) -> Floats:
    """Pinball loss at each of LEVELS: (n, n_levels).

    >>> pinball(np.array([0.0]), np.full((1, 7), 1.0)).round(2).tolist()
    [[0.95, 0.9, 0.75, 0.5, 0.25, 0.1, 0.05]]
    """
    over = actual[:, None] - quantiles
    return np.asarray(np.maximum(LEVELS * over, (LEVELS - 1) * over))


def crps(actual: Floats, quantiles: Floats) -> Floats:
    """The continuous ranked probability score (n,), as twice the mean pinball loss over LEVELS.

    CRPS is twice the integral of the pinball loss over all levels; this is its sum over ours, each
    with the same weight.
    """
    return np.asarray(2 * pinball(actual, quantiles).mean(axis=1))


def interval_score(
    actual: Floats, lower: Floats, upper: Floats, coverage: Floats | float
) -> Floats:
    """Winkler's score (n,) of an interval: its width, and what it misses by, over half the chance
    to miss.

    >>> interval_score(np.array([3.0]), np.array([0.0]), np.array([1.0]), 0.9).round(6).tolist()
    [41.0]
    """
    missed = np.maximum(lower - actual, 0) + np.maximum(actual - upper, 0)
    return np.asarray(upper - lower + 2 / (1 - coverage) * missed)


def exceedance(quantiles: Floats, move: float) -> float:
    """The probability that the price moves by more than a share of itself, up or down.

    `quantiles` (n_levels,). Between two of them the distribution is taken for even; beyond the
    outermost two it goes on as fast as it rises or falls there, as that of Laplace.

    >>> laplace = np.array([-2.303, -1.609, -0.693, 0.0, 0.693, 1.609, 2.303]) / 100
    >>> round(exceedance(laplace, 0.03), 3), round(exceedance(laplace, 0.0), 3)
    (0.05, 1.0)
    """
    up, down = np.log1p(move), np.log1p(-min(move, 1 - 1e-12))
    return float(1 - _share_below(quantiles, up) + _share_below(quantiles, down))


def _share_below(quantiles: Floats, at: float) -> float:
    """The share of a distribution that lies below `at`."""
    if at > quantiles[-1]:
        return 1 - _share_below(-quantiles[::-1], -at)
    if at >= quantiles[0]:
        return float(np.interp(at, quantiles, LEVELS))
    fade = max((quantiles[1] - quantiles[0]) / np.log(LEVELS[1] / LEVELS[0]), 1e-12)
    return float(LEVELS[0] * np.exp((at - quantiles[0]) / fade))


def pit(actual: Floats, quantiles: Floats) -> NDArray[np.int64]:
    """Between which quantiles each actual move fell (n,), 0 below the first: of a true distribution
    5, 5, 15, 25, 25, 15, 5 and 5 % fall into the eight parts."""
    return np.asarray((actual[:, None] > quantiles).sum(axis=1))


def qlike(actual: Floats, scale: Floats) -> Floats:
    """The quasi-likelihood loss (n,) of an expected mean size: ln scale + size / scale.

    Patton 2011, for the size of a move in place of its square: the mean size has the least loss.
    """
    return np.asarray(np.log(scale) + np.abs(actual) / scale)
