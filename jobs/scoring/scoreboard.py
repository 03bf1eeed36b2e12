"""The scoreboard: how good the predictions of each series are, over each span of time."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from model.baselines import ARIMA
from model.outcomes import LSTM, PERSISTENCE, Outcomes
from store.files import replace_rows
from store.schema import SCORES, SPANS
from store.views import open_duckdb

# One row a series, horizon, model version, live or backfilled, and span.
KEY: Final = ["symbol", "interval", "horizon", "model_version", "backfilled"]
# Sorted once and kept by DuckDB, on disk where it is much: one series at a time is read.
_OUTCOMES: Final = f"""
CREATE TEMP TABLE outcomes AS
SELECT {", ".join(KEY)}, epoch_ms(as_of) AS time, epoch_ms(target_time) AS target, last_close,
       actual_return, predicted_return, arima_return, covered, coverage, lower, upper
FROM scored ORDER BY {", ".join(KEY)}, target_time
"""
_OF_ONE: Final = f"SELECT * FROM outcomes WHERE {' AND '.join(f'{name} = ?' for name in KEY)}"


def update_scores(warehouse_dir: Path) -> pd.DataFrame:
    """Score every prediction whose target time has passed; write the table `scores` anew.

    A span ends at the newest target time of its interval that has an actual price, so that recorded
    bars have spans too.
    """
    with open_duckdb(warehouse_dir) as connection:
        connection.execute(_OUTCOMES)
        newest = "SELECT interval, max(target) FROM outcomes GROUP BY interval"
        until = dict(connection.execute(newest).fetchall())
        series = f"SELECT DISTINCT {', '.join(KEY)} FROM outcomes ORDER BY ALL"
        rows = [
            dict(zip(KEY, key, strict=True)) | scores
            for key in connection.execute(series).fetchall()
            for scores in scores_by_span(connection.execute(_OF_ONE, key).df(), until[key[1]])
        ]
    board = pd.DataFrame(rows, columns=SCORES.stored.names)
    for name in ("first_target", "last_target"):
        board[name] = pd.to_datetime(board[name].astype("int64"), unit="ms")
    replace_rows(warehouse_dir, SCORES, "newest", board)
    return board


def scores_by_span(scored: pd.DataFrame, until_ms: int) -> Iterator[dict[str, Any]]:
    """The scores of one series, in order of time, over each span that it was scored in."""
    found: dict[str, Any] = {}
    for span, length in SPANS.items():
        count = int((scored["target"] > until_ms - length).sum())
        if count and count != found.get("predictions"):  # else the shorter span holds the same rows
            found = scores(scored.tail(count))
        if count:
            yield {"span": span, **found}


def scores(scored: pd.DataFrame) -> dict[str, Any]:
    """The figures of some predictions of one series at one horizon."""
    columns = {name: scored[name].to_numpy() for name in scored}
    outcomes = Outcomes(
        symbol=columns["symbol"],
        time=columns["time"],
        horizon=columns["horizon"],
        last_close=columns["last_close"],
        actual=columns["actual_return"],
        forecasts={LSTM: columns["predicted_return"], ARIMA: columns["arima_return"]},
        scale=np.log(columns["upper"] / columns["lower"]) / 2,
    )
    metrics, (direction, low, high) = outcomes.metrics(LSTM), outcomes.direction(LSTM)
    with_arima = outcomes.chosen(np.isfinite(outcomes.forecast(ARIMA)))
    return {
        "predictions": metrics.n_windows,
        "arima_predictions": len(with_arima),
        "mae": metrics.mae,
        "mse": metrics.mse,
        "r2": metrics.r2,
        "directional_accuracy": direction,
        "direction_low": low,
        "direction_high": high,
        "interval_coverage": scored["covered"].mean(),
        "promised_coverage": scored["coverage"].mean(),
        "mean_width": ((scored["upper"] - scored["lower"]) / scored["last_close"]).mean(),
        **lead(outcomes, PERSISTENCE),
        **lead(with_arima, ARIMA),
        "first_target": scored["target"].iloc[0],
        "last_target": scored["target"].iloc[-1],
    }


def lead(outcomes: Outcomes, rival: str) -> dict[str, float]:
    """Skill and Diebold and Mariano's test against a rival, of log returns; NaN of no rows."""
    test = outcomes.against(LSTM, rival) if len(outcomes) else None
    loss, rival_loss = outcomes.loss(LSTM).sum(), outcomes.loss(rival).sum()
    return {
        f"skill_{rival}": 1 - loss / rival_loss if rival_loss > 0 else math.nan,
        f"dm_{rival}": test.statistic if test else math.nan,
        f"dm_p_{rival}": test.p_value if test else math.nan,
    }
