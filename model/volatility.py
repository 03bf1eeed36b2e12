"""What a forecast of how far has to beat: trailing volatility, its exponential average, GARCH.

Each gives the size of the log return to each horizon after every bar, up to a constant, which the
conformal step finds: all are made into distributions around the last price in the same way.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import lfilter

from model.features import MIN_VOLATILITY, horizon_scale, trailing_sum, volatility_bars

Floats = NDArray[np.float64]
TRAILING: Final = "trailing"
EWMA: Final = "ewma"
GARCH: Final = "garch"
VOLATILITIES: Final = (TRAILING, EWMA, GARCH)
# The same size after every bar. Where volatility never changes it is the best there is.
CONSTANT: Final = "constant"
# RiskMetrics 1996.
_EWMA_DECAY: Final = 0.94
# More returns fit no better, and take long.
_GARCH_RETURNS: Final = 5_000
_LEAST_RETURNS: Final = 200
# Of the sum of both coefficients: at 1 a shock would never fade.
_LARGEST_PERSISTENCE: Final = 0.9999


def trailing(close: Floats, lookback: int, horizons: Sequence[int]) -> Floats:
    """Root mean square of the last returns times the root of the horizon, (n_bars, n_horizons)."""
    span = volatility_bars(lookback)
    variance = trailing_sum(_returns(close) ** 2, span) / span
    return horizon_scale(np.maximum(np.sqrt(variance), MIN_VOLATILITY), tuple(horizons))


def ewma(close: Floats, horizons: Sequence[int]) -> Floats:
    """The same from an exponential average over all returns so far."""
    squared = pd.Series(_returns(close) ** 2)
    variance = squared.ewm(alpha=1 - _EWMA_DECAY, adjust=False, ignore_na=True).mean()
    volatility = np.maximum(np.sqrt(variance.to_numpy(float)), MIN_VOLATILITY)
    return horizon_scale(volatility, tuple(horizons))


def garch(close: Floats, n_fitted: int, horizons: Sequence[int]) -> Floats:
    """The same from GARCH(1,1) (Bollerslev 1986), fitted to the first `n_fitted` bars.

    Trailing in the sense of a constant where there is nothing to fit it to.
    """
    returns = _returns(close)
    fitted = returns[:n_fitted][np.isfinite(returns[:n_fitted])][-_GARCH_RETURNS:]
    if len(fitted) < _LEAST_RETURNS or not fitted.any():
        return np.ones((len(close), len(horizons)))
    from statsforecast.garch import garch_model

    size = float(fitted.std())
    base, alpha, beta = (float(c) for c in garch_model(fitted / size, 1, 1)["coeff"])
    persistence = min(alpha + beta, _LARGEST_PERSISTENCE)
    usual = base / (1 - persistence) * size**2
    squared = np.where(np.isfinite(returns), returns, np.sqrt(usual)) ** 2
    # The variance of the next return: base + alpha * squared + beta * the one before.
    start = [beta * usual]
    ahead, _ = lfilter([1.0], [1.0, -beta], base * size**2 + alpha * squared, zi=start)
    sums = [(1 - persistence**h) / (1 - persistence) for h in horizons]
    total = np.stack(
        [h * usual + of * (ahead - usual) for h, of in zip(horizons, sums, strict=True)], axis=1
    )
    return np.asarray(np.maximum(np.sqrt(np.maximum(total, 0.0)), MIN_VOLATILITY))


def volatilities(
    names: Sequence[str], close: Floats, n_fitted: int, lookback: int, horizons: Sequence[int]
) -> dict[str, Floats]:
    """Those of VOLATILITIES and CONSTANT that are named, (n_bars, n_horizons) each; what is fitted
    sees the first `n_fitted` bars alone."""
    makers = {
        CONSTANT: lambda: horizon_scale(np.ones(len(close)), tuple(horizons)),
        TRAILING: lambda: trailing(close, lookback, horizons),
        EWMA: lambda: ewma(close, horizons),
        GARCH: lambda: garch(close, n_fitted, horizons),
    }
    return {name: makers[name]() for name in names}


def _returns(close: Floats) -> Floats:
    return np.append(np.nan, np.diff(np.log(close)))
