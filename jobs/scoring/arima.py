"""ARIMA's forecast for each prediction: refitted daily, on past data alone.

Each UTC day's model is fitted on the bars that closed before that day, its order chosen by AICc,
and runs through the day with those coefficients. Kept in `warehouse/arima`, a file a day, so that
the scoreboard only joins. Days without enough bars before them get none.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conf.errors import NotEnoughBars
from conf.events import event
from conf.timeframes import TIMEFRAME_MS
from model.baselines import Arima
from model.series import Series
from store.files import append_rows
from store.schema import ARIMA
from store.series import read_warehouse
from store.views import read_sql

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
    found: list[pd.DataFrame] = []
    missing = read_sql(warehouse_dir, _MISSING)
    # One at a time: a year of minutes of a hundred symbols is gigabytes.
    for (timeframe, symbol), rows in missing.groupby(["interval", "symbol"]):
        with suppress(NotEnoughBars):
            (series,) = read_warehouse(warehouse_dir, str(timeframe), [str(symbol)])
            found += _forecasts(series, rows, models)
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


def _forecasts(series: Series, rows: pd.DataFrame, models: FittedModels) -> Iterator[pd.DataFrame]:
    """A frame for each period of one series whose model could be fitted."""
    starts = rows["as_of"].map(lambda time: period_start(time, series.interval))
    for start, part in rows.groupby(starts):
        before = series.until(int(start)).close[-FIT_BARS:]
        model = models.model(f"{series.symbol} {series.interval}", int(start), before)
        ends = series.rows_closing(part["as_of"].to_numpy())
        known = (ends >= 0) & (ends < len(series.close))
        if model is None or not known.any():
            continue
        part, ends = part[known], ends[known]
        horizons = sorted(set(part["horizon"]))
        returns = model.log_returns(series.close, ends, horizons)
        column = part["horizon"].map(horizons.index).to_numpy()
        moved = returns[np.arange(len(part)), column]
        yield part.assign(arima_close=series.close[ends] * np.exp(moved), fitted_until=int(start))


def _by_day(found: list[pd.DataFrame]) -> Iterator[tuple[str, pd.DataFrame]]:
    if not found:
        return
    rows = pd.concat(found, ignore_index=True)
    for name in ("as_of", "fitted_until"):
        rows[name] = pd.to_datetime(rows[name], unit="ms", utc=True)
    for day, part in rows.groupby(rows["as_of"].dt.strftime("%Y-%m-%d")):
        yield str(day), part
