"""ARIMA's forecast for each prediction: refitted daily, on past data alone.

Each UTC day's model is fitted on the bars that closed before that day, its order chosen by AICc,
and runs through the day with those coefficients. Kept in `warehouse/arima`, so that the scoreboard
only joins: the newest day an hour a folder, others a day. Days without enough bars before them get
none, and are remembered as such.
"""

import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from conf.events import event
from conf.state_files import read_state, write_state
from conf.timeframes import TIMEFRAME_MS
from jobs.scoring.kept import BAR_MS, BLOCK, DAY_MS, FOLDER, note_file
from model.baselines import Arima
from store.files import BATCH, append_rows
from store.schema import ARIMA

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# Of bars longer than an hour a day holds few: their model serves this many bars.
MIN_BARS_A_FIT: Final = 24
# Fewer returns than these say more about their accidents than about an order.
MIN_RETURNS: Final = 300
# What the fit looks back on, and where its errors begin; the order found does not change on more.
FIT_BARS: Final = 3_001
# Of each series so many fits are kept, the newest.
_KEPT_FITS: Final = 10
_HOUR: Final = re.compile(rf"{BATCH}(\d{{4}}-\d\d-\d\d)T\d\d")

# What was taken in since the last time; what was before has its forecast, or can't have one.
_MISSING: Final = """
WITH new AS (SELECT DISTINCT symbol, interval, as_of, horizon FROM kept.predictions
             WHERE look > (SELECT arima_look FROM kept.state))
SELECT new.* FROM new
ANTI JOIN (SELECT * FROM kept.arima WHERE as_of >= (SELECT min(as_of) FROM new))
USING (symbol, interval, as_of, horizon) ORDER BY ALL
"""
_ADD: Final = (
    """INSERT INTO kept.arima
       SELECT symbol, interval, as_of, horizon, arima_close FROM found_ ORDER BY as_of""",
    f"""DELETE FROM kept.sums s USING (
            SELECT DISTINCT interval, {BLOCK} AS block
            FROM (SELECT interval, as_of + horizon * {BAR_MS} AS target FROM found_)
        ) c WHERE s.interval = c.interval AND s.block = c.block""",
)
_CLOSES: Final = """
SELECT symbol, time, close FROM kept.closes
WHERE interval = ? AND time > ? AND list_contains(?, symbol) ORDER BY symbol, time
"""


def period_start(time_ms: int, timeframe: str) -> int:
    """When the model in use at `time_ms` was fitted: the start of the day, for bars up to 1h.

    >>> period_start(86_400_000 + 60_000, "1m")
    86400000
    """
    length = _period_ms(timeframe)
    return time_ms // length * length


def _period_ms(timeframe: str) -> int:
    return max(DAY_MS, MIN_BARS_A_FIT * TIMEFRAME_MS[timeframe])


def add_arima(connection: duckdb.DuckDBPyConnection, warehouse_dir: Path) -> int:
    """Add the forecasts that predictions lack which were taken in since; returns how many."""
    missing = connection.execute(_MISSING).df()
    models = FittedModels(warehouse_dir / FOLDER / "arima.json")
    parts = [
        part
        for timeframe, rows in missing.groupby("interval")
        for part in _of_timeframe(connection, str(timeframe), rows, models)
    ]
    models.save()
    found = pd.concat(parts) if parts else missing.iloc[:0]
    if len(found):
        connection.register("found_", found)
        for statement in _ADD:
            connection.execute(statement)
        connection.unregister("found_")
        for file in _write(warehouse_dir, found):
            note_file(connection, warehouse_dir, file)
    connection.execute("UPDATE kept.state SET arima_look = look")
    event(log, "arima", forecasts=len(found), missing_before=len(missing), fits=models.fits)
    return len(found)


class FittedModels:
    """Coefficients by series and period, in a file, so that none is fitted twice; None where there
    were not enough bars."""

    def __init__(self, file: Path) -> None:
        self.fits = 0
        self._file = file
        self._known: dict[str, Any] = read_state(file)
        self._before = dict(self._known)

    def model(self, series: str, start: int, before: Floats) -> Arima | None:
        """The model of the period that starts at `start`; None without enough bars before it."""
        key = f"{series} {start}"
        if key not in self._known:
            self._known[key] = self._fitted(key, before)
        if self._known[key] is None:
            return None
        ar, ma, mean = self._known[key]
        return Arima(np.array(ar, float), np.array(ma, float), float(mean))

    def _fitted(self, key: str, before: Floats) -> list[Any] | None:
        if np.count_nonzero(~np.isnan(np.diff(np.log(before)))) < MIN_RETURNS:
            return None
        self.fits += 1
        try:
            fitted = Arima.fit(before)
        except (ArithmeticError, ValueError, np.linalg.LinAlgError) as error:
            event(log, "arima_not_fitted", level=logging.WARNING, series=key, reason=error)
            return None
        return [fitted.ar.tolist(), fitted.ma.tolist(), fitted.mean]

    def save(self) -> None:
        """Write what is new; of each series the newest alone."""
        if self._known == self._before:
            return
        by_series: dict[str, list[int]] = {}
        for key in self._known:
            series, start = key.rsplit(" ", 1)
            by_series.setdefault(series, []).append(int(start))
        kept = {
            f"{series} {start}"
            for series, starts in by_series.items()
            for start in sorted(starts)[-_KEPT_FITS:]
        }
        write_state(self._file, {key: self._known[key] for key in self._known if key in kept})


def _of_timeframe(
    connection: duckdb.DuckDBPyConnection, timeframe: str, rows: pd.DataFrame, models: FittedModels
) -> Iterator[pd.DataFrame]:
    since = period_start(int(rows["as_of"].min()), timeframe) - FIT_BARS * TIMEFRAME_MS[timeframe]
    symbols = sorted(set(rows["symbol"]))
    closes = connection.execute(_CLOSES, [timeframe, since, symbols]).df()
    of_symbol = {str(symbol): own for symbol, own in closes.groupby("symbol")}
    for symbol, own in rows.groupby("symbol"):
        if str(symbol) in of_symbol:
            times, prices = (of_symbol[str(symbol)][name].to_numpy() for name in ("time", "close"))
            yield from _of_series(f"{symbol} {timeframe}", timeframe, times, prices, own, models)


def _of_series(
    name: str,
    timeframe: str,
    times: Ints,
    prices: Floats,
    rows: pd.DataFrame,
    models: FittedModels,
) -> Iterator[pd.DataFrame]:
    """A frame for each period whose model could be fitted."""
    bar_ms = TIMEFRAME_MS[timeframe]
    length = _period_ms(timeframe)
    for start, part in rows.groupby(rows["as_of"] // length * length):
        first = int(str(start)) - FIT_BARS * bar_ms
        ends = (part["as_of"].to_numpy(np.int64) - first) // bar_ms - 1
        close = np.full(int(ends.max()) + 1, np.nan)
        place = (times - first) // bar_ms - 1
        there = (place >= 0) & (place < len(close))
        close[place[there]] = prices[there]
        model = models.model(name, int(str(start)), close[:FIT_BARS])
        known = ~np.isnan(close[ends])
        if model is None or not known.any():
            continue
        part, ends = part[known], ends[known]
        horizons = sorted(set(part["horizon"]))
        returns = model.log_returns(close, ends, horizons)
        column = np.searchsorted(horizons, part["horizon"])
        moved = returns[np.arange(len(part)), column]
        yield part.assign(arima_close=close[ends] * np.exp(moved), fitted_until=int(str(start)))


def _write(warehouse_dir: Path, found: pd.DataFrame) -> Iterator[Path]:
    """Add rows to the folders of their days, of the newest day to those of its hours."""
    rows = found.copy()
    for name in ("as_of", "fitted_until"):
        rows[name] = pd.to_datetime(rows[name], unit="ms", utc=True)
    days = rows["as_of"].dt.floor("D")
    newest = days.max()
    yield from _end_days(warehouse_dir, f"{newest:%Y-%m-%d}")
    # Whole days are grouped by their times: to write out each row's takes minutes for a month.
    for start, part in rows.groupby(days.where(days < newest, rows["as_of"].dt.floor("h"))):
        batch = f"{start:%Y-%m-%d}" if start < newest else f"{start:%Y-%m-%dT%H}"
        append_rows(warehouse_dir, ARIMA, batch, part)
        yield from (warehouse_dir / ARIMA.name / f"{BATCH}{batch}").glob("*.parquet")


def _end_days(warehouse_dir: Path, newest: str) -> Iterator[Path]:
    """Make one folder of the hours of each day that is over."""
    for folder in sorted((warehouse_dir / ARIMA.name).glob(f"{BATCH}*T*")):
        found = _HOUR.fullmatch(folder.name)
        if found is not None and found[1] < newest:
            for file in folder.glob("*.parquet"):
                rows = _whole(file)
                if rows is not None:
                    append_rows(warehouse_dir, ARIMA, found[1], rows)
            shutil.rmtree(folder)
            yield from (warehouse_dir / ARIMA.name / f"{BATCH}{found[1]}").glob("*.parquet")


def _whole(file: Path) -> pd.DataFrame | None:
    """The rows of a file; None, said in the log, of one that can't be read: they are made anew."""
    try:
        rows: pd.DataFrame = pq.ParquetFile(file).read(ARIMA.stored.names).to_pandas()
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        event(log, "file_left_out", level=logging.WARNING, file=file, reason=error)
        return None
    return rows
