"""The live scoreboard for Prometheus: what the alert rules on coverage and skill look at."""

from collections.abc import Iterator
from typing import Any, Final

import pandas as pd
from prometheus_client import CollectorRegistry, Gauge

LABELS: Final = ("symbol", "interval", "horizon", "model", "span")
FIGURES: Final = {
    "predictions": "predictions scored",
    "skill_persistence": "1 - MSE / MSE of persistence, of returns",
    "skill_arima": "1 - MSE / MSE of ARIMA, of returns",
    "interval_coverage": "share of prices within their interval",
    "promised_coverage": "share that was promised",
}


class ScoreMetrics:
    """One gauge a figure, a series for each row of live predictions."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._gauges = {
            name: Gauge(f"candlecast_score_{name}", text, LABELS, registry=self.registry)
            for name, text in FIGURES.items()
        }

    def show(self, board: pd.DataFrame) -> None:
        """Take over a scoreboard; rows that are no longer there go."""
        for gauge in self._gauges.values():
            gauge.clear()
        rows: Iterator[Any] = board[~board["backfilled"].astype(bool)].itertuples()
        for row in rows:
            labels = (row.symbol, row.interval, row.horizon, row.model_version, row.span)
            for name, gauge in self._gauges.items():
                value = getattr(row, name)
                if not pd.isna(value):
                    gauge.labels(*map(str, labels)).set(float(value))
