"""One row of the evaluation: what walking forward through a series shows."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.evaluate import directional_accuracy, score, skill
from model.intervals import adapt_online
from model.series import Series
from model.significance import diebold_mariano, wilson_interval
from model.training import ModelSettings
from model.walk_forward import FoldSettings, WalkForward, walk_forward


@dataclass(frozen=True)
class Row:
    """One series of the table, at the first horizon; skills against persistence on returns.

    Weighted by `sum_squared_returns`, persistence's squared error, skills of several series pool.
    """

    series: str
    interval: str
    rows: int
    windows: int
    skill_lstm: float
    skill_arima: float
    skill_ridge: float
    mse_persistence: float
    mse_lstm: float
    mse_arima: float
    mae_lstm: float
    r2_lstm: float
    directional_accuracy: float
    directional_accuracy_95: tuple[float, float]
    dm_p_persistence: float
    dm_p_arima: float
    coverage_90: float
    skill_lstm_by_horizon: dict[int, float]
    sum_squared_returns: float
    seconds: float


def score_series(
    series: Series,
    name: str,
    model: ModelSettings,
    fold_settings: FoldSettings,
    adapt_rate: float,
    coverage_share: float,
) -> Row:
    """Walk forward through one series and put its figures together.

    Coverage is that of the adaptive intervals over the last `coverage_share` of the series.
    """
    begun = time.monotonic()
    walked = walk_forward(series, model, fold_settings)
    return Row(
        series=name,
        interval=series.interval,
        rows=series.n_present,
        windows=len(walked.ends),
        **_figures(walked, model.horizons[0]),
        coverage_90=_late_coverage(walked, series, model, adapt_rate, coverage_share),
        skill_lstm_by_horizon={
            h: skill(walked.came[:, i], walked.forecasts["lstm"][:, i])
            for i, h in enumerate(model.horizons)
        },
        sum_squared_returns=float(np.sum(walked.came[:, 0] ** 2)),
        seconds=round(time.monotonic() - begun, 1),
    )


def _figures(walked: WalkForward, horizon: int) -> dict[str, Any]:
    came, last = walked.came[:, 0], walked.last_close
    forecasts = {name: f[:, 0] for name, f in walked.forecasts.items()}
    actual = last * np.exp(came)
    prices = {name: score(last, last * np.exp(f), actual) for name, f in forecasts.items()}
    own = forecasts["lstm"]
    loss = (came - own) ** 2
    moved = int(np.count_nonzero((came != 0) & (own != 0)))
    accuracy = directional_accuracy(came, own)
    hits = 0 if moved == 0 else round(accuracy * moved)
    return {
        "skill_lstm": prices["lstm"].skill,
        "skill_arima": prices["arima"].skill,
        "skill_ridge": prices["ridge"].skill,
        "mse_persistence": score(last, last, actual).mse,
        "mse_lstm": prices["lstm"].mse,
        "mse_arima": prices["arima"].mse,
        "mae_lstm": prices["lstm"].mae,
        "r2_lstm": prices["lstm"].r2,
        "directional_accuracy": accuracy,
        "directional_accuracy_95": wilson_interval(hits, moved),
        "dm_p_persistence": diebold_mariano(loss, came**2, horizon).p_value,
        "dm_p_arima": diebold_mariano(loss, (came - forecasts["arima"]) ** 2, horizon).p_value,
    }


def _late_coverage(
    walked: WalkForward, series: Series, model: ModelSettings, rate: float, share: float
) -> float:
    """Share of first-horizon prices inside their interval over the end of the series."""
    covered = adapt_online(walked.scores[:, 0], model.horizons[0], model.coverage, rate)
    late = walked.ends >= len(series.bars) * (1 - share)
    return float(np.mean(covered[late])) if late.any() else float("nan")
