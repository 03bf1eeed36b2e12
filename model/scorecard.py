"""One row of the evaluation: what walking forward through a series shows."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conf.sections import Evaluation
from conf.timeframes import WEEK_MS
from model.baselines import ARIMA, BASELINES
from model.intervals import adapt_online
from model.livelier import said_rightly
from model.outcomes import LSTM, PERSISTENCE, Outcomes
from model.paid import Paid, would_have_paid
from model.series import Series
from model.spread_figures import SpreadFigures, spread_figures
from model.training import ModelSettings
from model.volatility import VOLATILITIES
from model.walk_forward import tested_from, walk_market


@dataclass(frozen=True)
class Row:
    """One series of the table, at the first horizon; skills against persistence on returns.

    `skill`, `mse`, `mae` and `r2` by forecaster; `dm_p` by whom the LSTM is compared with;
    direction and coverage are the LSTM's, `spread` by horizon, `paid` by horizon and forecaster, as
    is `livelier`, how often it is said rightly whether what comes is livelier than usual, beyond
    the next bar.
    Weighted by `sum_squared_returns`, persistence's squared error, skills of several series pool.
    """

    series: str
    interval: str
    rows: int
    windows: int
    skill: dict[str, float]
    mse: dict[str, float]
    mae: dict[str, float]
    r2: dict[str, float]
    directional_accuracy: float
    directional_accuracy_95: tuple[float, float]
    dm_p: dict[str, float]
    coverage_90: float
    skill_lstm_by_horizon: dict[int, float]
    spread: dict[int, SpreadFigures]
    livelier: dict[int, dict[str, float]]
    paid: dict[int, dict[str, Paid]]
    sum_squared_returns: float
    seconds: float


def score_market(
    market: Sequence[Series], model: ModelSettings, evaluation: Evaluation
) -> list[Row]:
    """Walk forward through all series of a market, which one model forecasts, and put the figures
    of each together.

    Coverage is that of the adaptive intervals over the last `coverage_share` of the series.
    """
    begun = time.monotonic()
    walked = walk_market(market, model, evaluation, volatile=VOLATILITIES, lead_in_ms=WEEK_MS)
    seconds = (time.monotonic() - begun) / len(market)
    since_ms = tested_from(market, model, evaluation)
    return [
        _row(series, of_series, since_ms, model, evaluation, seconds)
        for series, of_series in zip(market, walked, strict=True)
    ]


def _row(
    series: Series,
    with_lead_in: Outcomes,
    since_ms: int,
    model: ModelSettings,
    evaluation: Evaluation,
    seconds: float,
) -> Row:
    walked = with_lead_in.chosen(with_lead_in.time >= since_ms)
    tracked = walked.tracked(model.intervals.adapt_rate)
    first = walked.at(model.horizons[0])
    return Row(
        series=series.symbol,
        interval=series.interval,
        rows=series.n_present,
        windows=len(first),
        **_figures(first),
        coverage_90=_late_coverage(first, series, model, evaluation.coverage_share),
        paid={
            h: {name: would_have_paid(walked.at(h), name) for name in (LSTM, *BASELINES)}
            for h in model.horizons
        },
        skill_lstm_by_horizon={h: walked.at(h).skill(LSTM) for h in model.horizons},
        spread={h: spread_figures(tracked.at(h)) for h in model.horizons},
        livelier={
            h: said_rightly(series, with_lead_in.at(h), since_ms) for h in model.horizons if h > 1
        },
        sum_squared_returns=float(np.sum(first.actual**2)),
        seconds=round(seconds, 1),
    )


def _figures(first: Outcomes) -> dict[str, Any]:
    metrics = {name: first.metrics(name) for name in (LSTM, *BASELINES, PERSISTENCE)}
    share, low, high = first.direction(LSTM)
    return {
        **{
            figure: {name: getattr(one, figure) for name, one in metrics.items()}
            for figure in ("skill", "mse", "mae", "r2")
        },
        "directional_accuracy": share,
        "directional_accuracy_95": (low, high),
        "dm_p": {other: first.against(LSTM, other).p_value for other in (PERSISTENCE, ARIMA)},
    }


def _late_coverage(first: Outcomes, series: Series, model: ModelSettings, share: float) -> float:
    """Share of first-horizon prices inside their interval over the end of the series."""
    residuals = np.abs(first.residuals(LSTM))
    covered = adapt_online(
        residuals, model.horizons[0], model.intervals.coverage, model.intervals.adapt_rate
    )
    late = series.rows_closing(first.time) >= len(series.bars) * (1 - share)
    return float(np.mean(covered[late])) if late.any() else float("nan")
