"""Walk-forward evaluation: train on the past, forecast what follows, move on, pool.

```
 fold 1  |----- train -----|e| test |
 fold 2  |--------- train ----------|e| test |                  e: embargo of lookback + horizon
 fold 3  |-------------- train --------------|e| test |
```
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.baselines import Arima, Ridge
from model.dataset import Span, embargo_bars, window_ends
from model.forecast import Forecaster
from model.series import Series
from model.training import ModelSettings, fit_model

Floats = NDArray[np.float64]
RIVALS: Final = ("arima", "ridge")


@dataclass(frozen=True)
class FoldSettings:
    """How often to train, and which share of the time the first training part takes."""

    count: int
    first_train_share: float


@dataclass(frozen=True)
class WalkForward:
    """Out-of-sample forecasts of one series, pooled over the folds, in order of time.

    `ends` (n_windows,) are rows of the series; `came` and each of `forecasts` are log returns
    (n_windows, n_horizons); `scores` the absolute errors of the LSTM over the interval's half-width
    before it adapts; `last_close` (n_windows,).
    """

    ends: NDArray[np.int64]
    last_close: Floats
    came: Floats
    forecasts: dict[str, Floats]
    scores: Floats
    fold: NDArray[np.int64]


def folds(series: Series, settings: FoldSettings, embargo: int) -> list[tuple[Span, Span]]:
    """Training and test part of each fold; the test parts follow on one another."""
    start, step = series.first_open_time, series.bar_ms
    rows = np.linspace(settings.first_train_share, 1, settings.count + 1) * len(series.bars)
    borders = [start + int(row) * step for row in rows]
    return [
        (Span(start, border - embargo * step), Span(border, following))
        for border, following in itertools.pairwise(borders)
    ]


def walk_forward(
    series: Series,
    model: ModelSettings,
    fold_settings: FoldSettings,
    on_fold: Callable[[int], None] | None = None,
    rivals: Sequence[str] = RIVALS,
) -> WalkForward:
    """Forecast every test window of every fold with the LSTM, and with its rivals."""
    embargo = embargo_bars(model.lookback, model.horizons)
    found = []
    for index, (train, test) in enumerate(folds(series, fold_settings, embargo)):
        found.append(_one_fold(series, model, train, test, index, rivals))
        if on_fold is not None:
            on_fold(index)
    return _pooled(found)


def _pooled(parts: list[WalkForward]) -> WalkForward:
    return WalkForward(
        ends=np.concatenate([p.ends for p in parts]),
        last_close=np.concatenate([p.last_close for p in parts]),
        came=np.concatenate([p.came for p in parts]),
        forecasts={
            name: np.concatenate([p.forecasts[name] for p in parts]) for name in parts[0].forecasts
        },
        scores=np.concatenate([p.scores for p in parts]),
        fold=np.concatenate([p.fold for p in parts]),
    )


def _one_fold(
    series: Series,
    model: ModelSettings,
    train: Span,
    test: Span,
    index: int,
    rivals: Sequence[str],
) -> WalkForward:
    forecaster = Forecaster(fit_model([series], train, model).artifact("fold"))
    ends = window_ends(series, test, model.lookback, model.horizons)
    forecast = forecaster.predict(series.bars, ends)
    came = np.log(
        series.close[ends[:, None] + np.array(model.horizons)] / forecast.last_close[:, None]
    )
    own = np.log(forecast.predicted_close / forecast.last_close[:, None])
    half = np.log(forecast.upper / forecast.predicted_close)
    return WalkForward(
        ends=ends,
        last_close=forecast.last_close,
        came=came,
        forecasts={
            "lstm": own,
            **{
                name: _fit_rival(name, series, model, train).log_returns(
                    series.close, ends, model.horizons
                )
                for name in rivals
            },
        },
        scores=np.abs(came - own) / half,
        fold=np.full(len(ends), index),
    )


def _fit_rival(name: str, series: Series, model: ModelSettings, train: Span) -> Arima | Ridge:
    if name == "arima":
        return Arima.fit(series.until(train.end).close)
    ends = window_ends(series, train, model.lookback, model.horizons)
    return Ridge.fit(series.close, ends, model.horizons)
