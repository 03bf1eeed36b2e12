"""What every model has to beat besides persistence: ARIMA, and a ridge regression on five lags."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.signal import lfilter

from model.dataset import Span, window_ends
from model.features import Indices
from model.series import Series

Floats = NDArray[np.float64]
ARIMA: Final = "arima"
RIDGE: Final = "ridge"
BASELINES: Final = (ARIMA, RIDGE)
RIDGE_LAGS: Final = 5
# The order search fits dozens of models: on more returns than these it takes minutes and finds the
# same order.
_ARIMA_RETURNS: Final = 3000
# Fewer say nothing about an order.
_LEAST_RETURNS: Final = 30
# A root on the unit circle keeps the first shock for ever.
_LARGEST_ROOT: Final = 0.999
_RIDGE_PENALTY: Final = 1.0


@dataclass(frozen=True)
class Ridge:
    """A linear function of the last returns, one for each horizon; `kernel` (lags, n_horizons)."""

    kernel: Floats

    @classmethod
    def fit(cls, close: Floats, ends: Indices, horizons: Sequence[int]) -> "Ridge":
        """Fit to the windows that end at `ends`; all their bars and targets must be there.

        Persistence, of no weight on any lag, where there is no window.
        """
        if len(ends) == 0:
            return cls(np.zeros((RIDGE_LAGS, len(horizons))))
        inputs, log_close = _lagged(close, ends), np.log(close)
        ends = np.asarray(ends)
        targets = np.stack([log_close[ends + h] - log_close[ends] for h in horizons], axis=1)
        deviation = max(float(inputs.std()), 1e-12)
        normal = inputs.T @ inputs + _RIDGE_PENALTY * deviation**2 * np.eye(inputs.shape[1])
        return cls(np.linalg.solve(normal, inputs.T @ targets))

    def log_returns(self, close: Floats, ends: Indices, horizons: Sequence[int]) -> Floats:
        """Forecasts from the last five returns of each window."""
        return _lagged(close, ends) @ self.kernel


@dataclass(frozen=True)
class Arima:
    """ARIMA(p, 1, q) of the log price: an ARMA of its returns, with the training part's order.

    `ar` (p,) and `ma` (q,) in the sign convention y_t = mean + sum ar_i (y_(t-i) - mean) + e_t +
    sum ma_j e_(t-j).
    """

    ar: Floats
    ma: Floats
    mean: float

    @classmethod
    def fit(cls, close: Floats) -> "Arima":
        """Choose the order by AICc on the newest training returns, gaps closed up.

        Persistence, of no coefficients, where the price never moved, there are too few returns, or
        no model fits them.
        """
        returns = np.diff(np.log(close))
        returns = returns[np.isfinite(returns)][-_ARIMA_RETURNS:]
        if len(returns) < _LEAST_RETURNS or not returns.any():
            return cls.of([], [], 0.0)
        size = max(float(returns.std()), 1e-12)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                from statsforecast.arima import auto_arima_f

                found = auto_arima_f(returns / size, d=0, D=0, seasonal=False, approximation=True)
        except (ValueError, ArithmeticError, IndexError, np.linalg.LinAlgError):
            return cls.of([], [], 0.0)
        coefficients = found["coef"]
        p, q = found["arma"][0], found["arma"][1]
        return cls.of(
            [coefficients[f"ar{i + 1}"] for i in range(p)],
            [coefficients[f"ma{i + 1}"] for i in range(q)],
            float(coefficients.get("intercept", 0.0)) * size,
        )

    @classmethod
    def of(cls, ar: Sequence[float], ma: Sequence[float], mean: float) -> "Arima":
        """With the coefficients that a fit found, made stationary and invertible; persistence where
        one of them is no number.

        >>> Arima.of([], [-2.0], 0.0).ma.round(3).tolist()
        [-0.5]
        """
        if not np.isfinite([*ar, *ma, mean]).all():
            return cls(np.empty(0), np.empty(0), 0.0)
        return cls(-_inside(-np.array(ar, float)), _inside(np.array(ma, float)), mean)

    def log_returns(self, close: Floats, ends: Indices, horizons: Sequence[int]) -> Floats:
        """Forecasts with the fitted coefficients; a missing return counts as the mean."""
        returns = np.concatenate([[0.0], np.diff(np.log(close)) - self.mean])
        returns = np.nan_to_num(returns)
        shocks = lfilter(
            np.concatenate([[1.0], -self.ar]), np.concatenate([[1.0], self.ma]), returns
        )
        past = _before(returns, np.asarray(ends), len(self.ar))
        noise = _before(shocks, np.asarray(ends), len(self.ma))
        total, at = np.zeros(len(ends)), {}
        for step in range(1, max(horizons) + 1):
            ahead = past @ self.ar + noise @ self.ma
            total = total + ahead + self.mean
            at[step] = total
            past = np.column_stack([ahead, past])[:, : len(self.ar)]
            noise = np.column_stack([np.zeros(len(ends)), noise])[:, : len(self.ma)]
        return np.stack([at[h] for h in horizons], axis=1)


# A forecaster of log returns (n_windows, n_horizons) from the closing prices up to each end.
Baseline = Ridge | Arima


def fit_baselines(
    names: Sequence[str], series: Series, train: Span, lookback: int, horizons: Sequence[int]
) -> dict[str, Baseline]:
    """Those of "arima" and "ridge" that are named, fitted on the bars of `train`; persistence where
    there is nothing to fit them to."""
    fitted: dict[str, Baseline] = {}
    for name in names:
        if name == ARIMA:
            fitted[name] = Arima.fit(series.until(train.end).close)
        else:
            ends = window_ends(series, train, lookback, horizons)
            fitted[name] = Ridge.fit(series.close, ends, horizons)
    return fitted


def _inside(coefficients: Floats) -> Floats:
    """The coefficients c of z^n + c_1 z^(n-1) + ... + c_n, with each root outside the unit circle
    replaced by its mirror image inside: the same autocovariances, and shocks that fade instead of
    growing from bar to bar. As they are where all roots lie inside."""
    roots = np.roots(np.append(1.0, coefficients))
    size = np.abs(roots)
    if (size <= _LARGEST_ROOT).all():
        return coefficients
    size = np.minimum(np.where(size > 1, 1 / np.maximum(size, 1), size), _LARGEST_ROOT)
    return np.asarray(np.poly(size * np.exp(1j * np.angle(roots))).real[1:])


def _lagged(close: Floats, ends: Indices) -> Floats:
    """The last five returns up to each end, the newest first: (n_windows, RIDGE_LAGS)."""
    returns = np.concatenate([[np.nan], np.diff(np.log(close))])
    return _before(returns, np.asarray(ends), RIDGE_LAGS)


def _before(values: Floats, ends: Indices, count: int) -> Floats:
    """The last `count` values up to each end, the newest first: (n_windows, count)."""
    if count == 0:
        return np.zeros((len(ends), 0))
    padded = np.concatenate([np.zeros(count), values])
    return sliding_window_view(padded, count)[np.asarray(ends) + 1][:, ::-1]
