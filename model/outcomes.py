"""Forecasts with their actuals: the one frame that gate, report and evaluation read; metrics.

A row is a forecast of one window at one horizon whose target time has passed. Who made it is data:
`forecasts` maps names to log returns. "persistence", no change, is always among them.

R2 of prices is near 1 for any forecast that repeats the last price, because prices vary far more
over a series than within a bar. Skill compares with exactly that forecast, on returns.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from model.distribution import crps, interval_score, symmetric
from model.intervals import CENTRAL, online_factors
from model.significance import (
    DieboldMariano,
    Lagged,
    diebold_mariano,
    independent_hits,
    lags_of,
    wilson_interval,
)

Floats = NDArray[np.float64]

LSTM: Final = "lstm"
PERSISTENCE: Final = "persistence"
# A network computes in single precision: a forecast move within its rounding is none.
ROUNDING: Final = 2.0**-24


def shown_name(name: str) -> str:
    """A forecaster's name for people.

    >>> shown_name("lstm"), shown_name("ridge")
    ('LSTM', 'ridge')
    """
    return name.upper() if name in (LSTM, "arima") else name


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

    def shown(self) -> dict[str, str]:
        """The figures as text, by their headings."""
        accuracy = self.directional_accuracy
        return {
            "MSE": f"{self.mse:.5g}",
            "MAE": f"{self.mae:.4g}",
            "R2": f"{self.r2:.4f}",
            "skill": f"{self.skill:.2%}",
            "direction": "-" if math.isnan(accuracy) else f"{accuracy:.1%}",
        }


@dataclass(frozen=True)
class Outcomes:
    """Forecasts and actuals, every array (n_rows,), rows of one symbol and horizon in order of
    time.

    `symbol`; `time` the close of the window's last bar, epoch ms UTC; `horizon` in bars;
    `last_close` a price; `actual` and each of `forecasts` the log return from there to the horizon;
    `scale` the half-width of the prediction interval as a log return, NaN where there is none;
    `trailing` the volatility before the window times the root of the horizon. `spreads` maps names
    to the half-widths (n_rows, n_intervals) of the intervals of `CENTRAL` around the forecast.
    """

    symbol: NDArray[np.str_]
    time: NDArray[np.int64]
    horizon: NDArray[np.int64]
    last_close: Floats
    actual: Floats
    forecasts: Mapping[str, Floats]
    scale: Floats
    trailing: Floats
    spreads: Mapping[str, Floats] = field(default_factory=dict)

    @classmethod
    def of_windows(
        cls,
        symbol: str,
        times: NDArray[np.int64],
        horizons: Sequence[int],
        closes: Floats,
        forecasts: Mapping[str, Floats],
        scale: Floats,
        trailing: Floats,
        spreads: Mapping[str, Floats] | None = None,
    ) -> Self:
        """Of the windows that end at `times` (n_windows,).

        `closes` (n_windows, 1 + n_horizons): the last close, and those at the horizons; each of
        `forecasts`, `scale` and `trailing` (n_windows, n_horizons), of `spreads` (n_windows,
        n_horizons, n_intervals).

        >>> closes, change = np.array([[100.0, 101.0], [101.0, 99.0]]), np.array([[0.01], [-0.01]])
        >>> Outcomes.of_windows(
        ...     "BTC", np.array([0, 1]), (1,), closes, {"up": change}, change, change
        ... )  # doctest: +ELLIPSIS
        Outcomes(symbol=array(['BTC', 'BTC'], dtype='<U3'), time=array([0, 1]), ...
        """
        count = len(horizons)
        actual = np.log(closes[:, 1:] / closes[:, :1])
        return cls(
            np.full(actual.size, symbol),
            np.repeat(times, count),
            np.tile(np.asarray(horizons, np.int64), len(times)),
            np.repeat(closes[:, 0], count),
            actual.ravel(),
            {name: forecast.ravel() for name, forecast in forecasts.items()},
            scale.ravel(),
            trailing.ravel(),
            {name: of.reshape(actual.size, of.shape[-1]) for name, of in (spreads or {}).items()},
        )

    def __len__(self) -> int:
        return len(self.time)

    def chosen(self, rows: NDArray[np.bool_]) -> "Outcomes":
        """Some of the rows."""
        arrays: dict[str, Any] = {name: getattr(self, name)[rows] for name in _ARRAYS}
        maps: dict[str, Any] = {
            name: {key: values[rows] for key, values in getattr(self, name).items()}
            for name in _MAPS
        }
        return replace(self, **arrays, **maps)

    def at(self, horizon: int) -> "Outcomes":
        """The rows of one horizon."""
        return self.chosen(self.horizon == horizon)

    def forecast(self, name: str) -> Floats:
        """The log returns (n_rows,) that `name` forecast; 0 where that is but a rounding, and of
        who has a spread alone, around the last price."""
        if name == PERSISTENCE or (name in self.spreads and name not in self.forecasts):
            return np.zeros(len(self))
        return rounded(self.forecasts[name])

    def loss(self, name: str) -> Floats:
        """Squared errors (n_rows,)."""
        return (self.actual - self.forecast(name)) ** 2

    def quantiles(self, name: str) -> Floats:
        """The quantiles (n_rows, n_levels) that `name` forecast, as log returns."""
        return symmetric(self.forecast(name), self.spreads[name])

    def crps(self, name: str) -> Floats:
        """Continuous ranked probability scores (n_rows,)."""
        return crps(self.actual, self.quantiles(name))

    def crps_skill(self, name: str, other: str) -> float:
        """1 - CRPS / CRPS of another, means over all rows; NaN where the other's is none."""
        return _one_minus_ratio(self.crps(name).sum(), self.crps(other).sum())

    def winkler(self, name: str) -> Floats:
        """Interval scores (n_rows,) of the widest of the intervals of CENTRAL."""
        quantiles = self.quantiles(name)
        return interval_score(self.actual, quantiles[:, 0], quantiles[:, -1], CENTRAL[-1])

    def covered(self, name: str) -> NDArray[np.bool_]:
        """Which of the intervals of CENTRAL held: (n_rows, n_intervals)."""
        missed = np.abs(self.actual - self.forecast(name))
        return np.asarray(missed[:, None] <= self.spreads[name])

    def tracked(self, rate: float) -> Self:
        """The same with every spread adapted to the outcomes so far, as live coverage does: one by
        one of each symbol and horizon."""
        spreads = {name: of.copy() for name, of in self.spreads.items()}
        coverage = np.tile(CENTRAL, len(spreads))
        for symbol, horizon in {*zip(self.symbol.tolist(), self.horizon.tolist(), strict=True)}:
            here = (self.symbol == symbol) & (self.horizon == horizon)
            errors = [
                np.abs(self.actual - self.forecast(name))[here, None] / of[here]
                for name, of in self.spreads.items()
            ]
            factors = online_factors(np.concatenate(errors, axis=1), horizon, coverage, rate)
            for place, name in enumerate(spreads):
                of_name = factors[:, place * len(CENTRAL) : (place + 1) * len(CENTRAL)]
                widened = spreads[name][here] * of_name
                spreads[name][here] = np.maximum.accumulate(widened, axis=1)
        return replace(self, spreads=spreads)

    def by_time(self, loss: Floats) -> Floats:
        """Losses (n_times,) in order of time, means over the symbols of each: errors of several
        symbols at one time are not independent, and count as one."""
        _, place, count = np.unique(self.time, return_inverse=True, return_counts=True)
        return np.bincount(place, loss, minlength=len(count)) / count

    def loss_by_time(self, name: str) -> Floats:
        """Squared errors (n_times,), see `by_time`."""
        return self.by_time(self.loss(name))

    def residuals(self, name: str) -> Floats:
        """Errors (n_rows,) over the half-width of the interval: beyond 1 the price is outside."""
        return (self.actual - self.forecast(name)) / self.scale

    def skill(self, name: str) -> float:
        """1 - MSE / MSE of persistence."""
        return skill(self.actual, self.forecast(name))

    def metrics(self, name: str) -> Metrics:
        """The metrics of prices and returns together."""
        last = self.last_close
        return score(last, last * np.exp(self.forecast(name)), last * np.exp(self.actual))

    def direction(self, name: str) -> tuple[float, float, float]:
        """The share of moves whose sign was forecast, and its 95 % interval, of one horizon.

        Moves that did not happen or were not forecast are left out; NaN, 0, 1 where none is left.
        The interval counts forecasts over the same bars, which hit or miss together, as one.
        """
        forecast, horizon = self.forecast(name), int(self.horizon.max(initial=1))
        signs = np.sign(forecast) * (self.actual != 0)
        run = np.cumsum(np.append(False, self.symbol[1:] != self.symbol[:-1]))[: len(self)]
        of_symbols = Lagged.of(signs, run, int(run.max(initial=0)) + 1, lags_of(horizon))
        count = float(independent_hits(of_symbols, horizon).sum())
        share = directional_accuracy(self.actual, forecast)
        low, high = wilson_interval(share * count if count else 0.0, count)
        return share, float(low), float(high)

    def against(self, name: str, other: str) -> DieboldMariano:
        """Whether `name` errs less than `other`, over rows of one horizon."""
        return self._compared(self.loss(name), self.loss(other))

    def crps_against(self, name: str, other: str) -> DieboldMariano:
        """Whether the distribution of `name` is better than that of `other`, at one horizon."""
        return self._compared(self.crps(name), self.crps(other))

    def _compared(self, loss: Floats, other: Floats) -> DieboldMariano:
        horizon = int(self.horizon.max(initial=1))
        return diebold_mariano(self.by_time(loss), self.by_time(other), horizon)


_ARRAYS: Final = ("symbol", "time", "horizon", "last_close", "actual", "scale", "trailing")
_MAPS: Final = ("forecasts", "spreads")


def joined(parts: Sequence[Outcomes]) -> Outcomes:
    """The rows of several parts behind one another; each has the same forecasters."""
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(p, name) for p in parts]) for name in _ARRAYS
    }
    maps: dict[str, Any] = {
        name: {
            key: np.concatenate([getattr(p, name)[key] for p in parts])
            for key in getattr(parts[0], name)
        }
        for name in _MAPS
    }
    return Outcomes(**arrays, **maps)


def rounded(forecast: Floats) -> Floats:
    """Forecast log returns, with 0 for those that only rounding tells from the last price.

    >>> rounded(np.log([1.0000000178, 1.001])).round(4).tolist()
    [0.0, 0.001]
    """
    return np.where(np.abs(forecast) <= ROUNDING, 0.0, forecast)


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
    forecast = rounded(np.log(predicted / last_close))
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
