"""Walk-forward evaluation: train on the past, forecast what follows, move on, pool.

```
 fold 1  |----- train -----|e| test |
 fold 2  |--------- train ----------|e| test |                  e: embargo of lookback + horizon
 fold 3  |-------------- train --------------|e| test |
```
"""

import itertools
from collections.abc import Sequence

import numpy as np

from conf.sections import Evaluation
from model.baselines import BASELINES, fit_baselines
from model.dataset import Span, embargo_bars
from model.forecast import Forecaster
from model.outcomes import LSTM, Outcomes, joined
from model.series import Series
from model.training import ModelSettings, fit_model
from model.validate import forecast_outcomes


def folds(series: Series, evaluation: Evaluation, embargo: int) -> list[tuple[Span, Span]]:
    """Training and test part of each fold; the test parts follow on one another."""
    start, embargo_ms = series.first_open_time, embargo * series.bar_ms
    rows = np.linspace(evaluation.first_train_share, 1, evaluation.folds + 1) * len(series.bars)
    borders = series.open_times(rows.astype(np.int64)).tolist()
    return [
        (Span(start, border - embargo_ms), Span(border, following))
        for border, following in itertools.pairwise(borders)
    ]


def walk_forward(
    series: Series,
    model: ModelSettings,
    evaluation: Evaluation,
    rivals: Sequence[str] = BASELINES,
    volatile: Sequence[str] = (),
) -> Outcomes:
    """Forecast every test window of every fold with "lstm" and with its rivals, and with spreads
    of the volatilities that `volatile` names; in order of time at each horizon."""
    return walk_market([series], model, evaluation, rivals, volatile)[0]


def walk_market(
    market: Sequence[Series],
    model: ModelSettings,
    evaluation: Evaluation,
    rivals: Sequence[str] = BASELINES,
    volatile: Sequence[str] = (),
    lead_in_ms: int = 0,
) -> list[Outcomes]:
    """The same of each series of a market, with one model for all in each fold.

    The folds are those of the series with the most rows. Before the first test part lie
    `lead_in_ms` that its model has seen: they say what is usual, and not how good it is.
    """
    found: list[list[Outcomes]] = [[] for _ in market]
    border = tested_from(market, model, evaluation)
    for train, test in _folds_of(market, model, evaluation):
        lstm = Forecaster(fit_model(market, train, model).artifact("fold"))
        lead_in = [Span(border - lead_in_ms, border)] if test.start == border and lead_in_ms else []
        for series, parts in zip(market, found, strict=True):
            others = fit_baselines(rivals, series, train, model.lookback, model.horizons)
            for part in (*lead_in, test):
                parts.append(forecast_outcomes(series, part, {LSTM: lstm}, others, volatile))
    return [joined(parts) for parts in found]


def tested_from(market: Sequence[Series], model: ModelSettings, evaluation: Evaluation) -> int:
    """When the first test part begins, epoch ms UTC."""
    return _folds_of(market, model, evaluation)[0][1].start


def _folds_of(
    market: Sequence[Series], model: ModelSettings, evaluation: Evaluation
) -> list[tuple[Span, Span]]:
    longest = max(market, key=lambda series: len(series.bars))
    return folds(longest, evaluation, embargo_bars(model.lookback, model.horizons))


def lstm_alone(series: Series, model: ModelSettings, evaluation: Evaluation) -> Outcomes:
    """Walk forward without rivals; the rows of the first horizon."""
    return walk_forward(series, model, evaluation, rivals=()).at(model.horizons[0])
