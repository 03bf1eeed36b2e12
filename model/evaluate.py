"""How good forecasts are: errors of prices as papers report them, and what says more.

R2 of prices is near 1 for any forecast that repeats the last price, because prices vary far more
over a series than within a bar. Skill compares with exactly that forecast, on returns.
"""

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Metrics:
    """One forecaster at one horizon.

    `mse`, `mae`, `r2` are of prices; `skill` is 1 - MSE / MSE of persistence, of log returns: 0 is
    no better than repeating the last price. `directional_accuracy` leaves out windows whose price
    did not move.
    """

    n_windows: int
    mse: float
    mae: float
    r2: float
    skill: float
    directional_accuracy: float

    def as_dict(self) -> dict[str, float]:
        """Field names to values."""
        return {name: float(value) for name, value in asdict(self).items()}


def score(last_close: Floats, predicted: Floats, actual: Floats) -> Metrics:
    """Compare forecast prices with the actual ones, each (n_windows,).

    >>> metrics = score(np.array([100.0, 100.0]), np.array([101.0, 99.0]), np.array([102.0, 98.0]))
    >>> metrics.mse, metrics.mae, metrics.directional_accuracy
    (1.0, 1.0, 1.0)
    >>> round(metrics.skill, 2)
    0.75
    """
    error = predicted - actual
    actual_return = np.log(actual / last_close)
    forecast = np.log(predicted / last_close)
    return Metrics(
        n_windows=len(actual),
        mse=float(np.mean(error**2)),
        mae=float(np.mean(np.abs(error))),
        r2=_one_minus_ratio(np.sum(error**2), np.sum((actual - actual.mean()) ** 2)),
        skill=skill(actual_return, forecast),
        directional_accuracy=directional_accuracy(actual_return, forecast),
    )


def skill(actual: Floats, forecast: Floats) -> float:
    """1 - MSE / MSE of persistence, from log returns; NaN where the price never moved.

    >>> skill(np.array([0.01, -0.01]), np.array([0.0, 0.0]))
    0.0
    """
    return _one_minus_ratio(np.sum((actual - forecast) ** 2), np.sum(actual**2))


def directional_accuracy(actual: Floats, forecast: Floats) -> float:
    """Share of moves whose sign was forecast; NaN where neither ever moved.

    >>> directional_accuracy(np.array([1.0, -1.0, 0.0]), np.array([2.0, 2.0, 2.0]))
    0.5
    """
    moved = (actual != 0) & (forecast != 0)
    if not moved.any():
        return math.nan
    return float(np.mean(np.sign(actual[moved]) == np.sign(forecast[moved])))


def _one_minus_ratio(part: float, whole: float) -> float:
    return float(1 - part / whole) if whole > 0 else math.nan
