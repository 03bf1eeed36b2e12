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
_RIDGE_PENALTY: Final = 1.0


@dataclass(frozen=True)
class Ridge:
    """A linear function of the last returns, one for each horizon; `kernel` (lags, n_horizons)."""

    kernel: Floats

    @classmethod
    def fit(cls, close: Floats, ends: Indices, horizons: Sequence[int]) -> "Ridge":
        """Fit to the windows that end at `ends`; all their bars and targets must be there."""
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
        """Choose the order by AICc on the newest training returns, gaps closed up."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from statsforecast.arima import auto_arima_f

            returns = np.diff(np.log(close))
            returns = returns[~np.isnan(returns)][-_ARIMA_RETURNS:]
            size = max(float(returns.std()), 1e-12)
            found = auto_arima_f(returns / size, d=0, D=0, seasonal=False, approximation=True)
        coefficients = found["coef"]
        p, q = found["arma"][0], found["arma"][1]
        return cls(
            np.array([coefficients[f"ar{i + 1}"] for i in range(p)]),
            np.array([coefficients[f"ma{i + 1}"] for i in range(q)]),
            float(coefficients.get("intercept", 0.0)) * size,
        )

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
    """Those of "arima" and "ridge" that are named, fitted on the bars of `train`."""
    fitted: dict[str, Baseline] = {}
    for name in names:
        if name == ARIMA:
            fitted[name] = Arima.fit(series.until(train.end).close)
        else:
            ends = window_ends(series, train, lookback, horizons)
            fitted[name] = Ridge.fit(series.close, ends, horizons)
    return fitted


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
