"""ARIMA's forecast for each prediction: refitted daily, on past data alone.

Each UTC day's model is fitted on the bars that closed before that day, its order chosen by AICc,
and runs through the day with those coefficients. Kept in `warehouse/arima`, a file a day, so that
the scoreboard only joins. Days without enough bars before them get none.
"""

import json
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conf.events import event
from conf.timeframes import TIMEFRAME_MS
from model.baselines import Arima
from store.files import append_rows
from store.schema import ARIMA
from store.views import open_duckdb

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
DAY_MS: Final = 86_400_000
# Of bars longer than an hour a day holds few: their model serves this many bars.
MIN_BARS_A_FIT: Final = 24
# Fewer returns than these say more about their accidents than about an order.
MIN_RETURNS: Final = 300
# What the fit looks back on; the order found does not change on more.
FIT_BARS: Final = 3_001

_MISSING: Final = """
SELECT p.symbol, p.interval, epoch_ms(p.as_of) AS as_of, p.horizon
FROM (SELECT DISTINCT symbol, interval, as_of, horizon FROM predictions) p
ANTI JOIN arima_raw a USING (symbol, interval, as_of, horizon)
ORDER BY ALL
"""
_CLOSES: Final = """
SELECT epoch_ms(close_time) AS time, close FROM bars WHERE symbol = ? AND interval = ?
ORDER BY close_time
"""


@dataclass(frozen=True)
class Closes:
    """Closing prices on the grid; `close` (n_bars,) is NaN where a bar is missing."""

    first_time: int
    bar_ms: int
    close: Floats

    def index(self, time_ms: int) -> int:
        """The place of the bar that closes at `time_ms`."""
        return (time_ms - self.first_time) // self.bar_ms


def period_start(time_ms: int, timeframe: str) -> int:
    """When the model in use at `time_ms` was fitted: the start of the day, for bars up to 1h.

    >>> period_start(86_400_000 + 60_000, "1m")
    86400000
    """
    length = max(DAY_MS, MIN_BARS_A_FIT * TIMEFRAME_MS[timeframe])
    return time_ms // length * length


def update_arima(warehouse_dir: Path) -> int:
    """Add the forecasts that predictions lack; returns how many were added."""
    models = FittedModels(warehouse_dir / "_scores" / "arima.json")
    found = []
    with open_duckdb(warehouse_dir) as connection:
        missing = connection.execute(_MISSING).df()
        for (symbol, timeframe), rows in missing.groupby(["symbol", "interval"], sort=True):
            bars = connection.execute(_CLOSES, [symbol, timeframe]).df()
            if len(bars):
                closes = _on_grid(bars, TIMEFRAME_MS[str(timeframe)])
                found += list(_forecasts(str(symbol), str(timeframe), rows, closes, models))
    models.save()
    for day, rows in _by_day(found):
        append_rows(warehouse_dir, ARIMA, day, rows)
    added = sum(len(rows) for rows in found)
    event(log, "arima", forecasts=added, missing_before=len(missing), fits=models.fits)
    return added


class FittedModels:
    """Coefficients by series and day, kept in a file so that no day is fitted twice."""

    def __init__(self, file: Path) -> None:
        self.fits = 0
        self._file = file
        self._known: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}

    def model(self, series: str, start: int, before: Floats) -> Arima | None:
        """The model of the period that starts at `start`; None without enough bars before it."""
        key = f"{series} {start}"
        if key not in self._known:
            if np.count_nonzero(~np.isnan(np.diff(np.log(before)))) < MIN_RETURNS:
                return None
            fitted = Arima.fit(before)
            self.fits += 1
            self._known[key] = [fitted.ar.tolist(), fitted.ma.tolist(), fitted.mean]
        ar, ma, mean = self._known[key]
        return Arima(np.array(ar, float), np.array(ma, float), float(mean))

    def save(self) -> None:
        """Write what was fitted."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        staging = self._file.with_name(f".{self._file.name}")
        staging.write_text(json.dumps(self._known))
        staging.replace(self._file)


def _on_grid(bars: pd.DataFrame, bar_ms: int) -> Closes:
    times = bars["time"].to_numpy()
    rows = (times - times[0]) // bar_ms
    close = np.full(int(rows[-1]) + 1, math.nan)
    close[rows] = bars["close"].to_numpy()
    return Closes(int(times[0]), bar_ms, close)


def _forecasts(
    symbol: str, timeframe: str, rows: pd.DataFrame, closes: Closes, models: FittedModels
) -> Iterator[pd.DataFrame]:
    """A frame for each period of one series whose model could be fitted."""
    starts = rows["as_of"].map(lambda time: period_start(time, timeframe))
    for start, part in rows.groupby(starts):
        border = max(0, closes.index(int(start)) + 1)
        model = models.model(
            f"{symbol} {timeframe}", int(start), closes.close[max(0, border - FIT_BARS) : border]
        )
        ends = np.array([closes.index(time) for time in part["as_of"]])
        known = (ends >= 0) & (ends < len(closes.close))
        if model is None or not known.any():
            continue
        part, ends = part[known], ends[known]
        horizons = sorted(set(part["horizon"]))
        returns = model.log_returns(closes.close, ends, horizons)
        column = part["horizon"].map(horizons.index).to_numpy()
        moved = returns[np.arange(len(part)), column]
        yield part.assign(arima_close=closes.close[ends] * np.exp(moved), fitted_until=int(start))


def _by_day(found: list[pd.DataFrame]) -> Iterator[tuple[str, pd.DataFrame]]:
    if not found:
        return
    rows = pd.concat(found, ignore_index=True)
    for name in ("as_of", "fitted_until"):
        rows[name] = pd.to_datetime(rows[name], unit="ms", utc=True)
    for day, part in rows.groupby(rows["as_of"].dt.strftime("%Y-%m-%d")):
        yield str(day), part
