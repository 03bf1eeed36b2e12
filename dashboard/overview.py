"""All series at a glance: the last price, what comes next, how good that was, how fresh it is.

A thread keeps the answer in memory, so that many open pages cost one look at the warehouse.
"""

import logging
import math
import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

import pandas as pd

from conf.events import event
from conf.timeframes import TIMEFRAME_MS, WEEK_MS
from dashboard.api_types import Ahead, Card, Record
from dashboard.records import Row
from dashboard.sources import Sources
from dashboard.tables import Series
from model.size import LEAST_OF_A_WEEK
from store.schema import DISTRIBUTION

log = logging.getLogger(__name__)

REFRESH_S: Final = 2.0
# What is usual over a week changes slowly.
SIZES_EVERY_S: Final = 600.0
SPARK: Final = 60
MOST_SERIES: Final = 10_000
# Spans of the scoreboard, the first that a series has enough predictions in is shown.
SPANS_SHOWN: Final = ("7d", "all", "24h", "1h")
LEVEL: Final = 0.05
PERCENTILES: Final = [percent / 100 for percent in range(2, 100, 2)]

_PRICES: Final = ("last_close", "predicted_close", "lower", "upper")
_CLOSES: Final = """
SELECT symbol, epoch_ms(open_time) AS time, close FROM bars_raw
WHERE interval = $interval AND open_time >= make_timestamp($since::BIGINT * 1000)
ORDER BY open_time, fetched_at
"""
_NEWEST: Final = f"""
SELECT symbol, interval, horizon, epoch_ms(as_of) AS as_of, epoch_ms(target_time) AS target_time,
       last_close, predicted_close, lower, upper, coverage, {", ".join(DISTRIBUTION)}, proven,
       model_version,
       epoch_ms(predicted_at) AS predicted_at
FROM predictions_raw
WHERE interval = $interval AND as_of >= make_timestamp($since::BIGINT * 1000)
QUALIFY row_number() OVER (
    PARTITION BY symbol, interval, horizon ORDER BY as_of DESC, predicted_at DESC) = 1
"""
_SIZES: Final = f"""
SELECT symbol, interval, horizon, quantile_cont(scale, {PERCENTILES}) AS sizes
FROM predictions_raw WHERE as_of >= make_timestamp($since::BIGINT * 1000) AND scale > 0
GROUP BY ALL HAVING count(*) >= {LEAST_OF_A_WEEK}
"""


@dataclass
class _Known:
    """What is remembered of one series; times are epoch ms, UTC."""

    closes: dict[int, float] = field(default_factory=dict)  # by the bar's open time, ascending
    ahead: dict[int, Row] = field(default_factory=dict)  # the newest prediction at each horizon
    sizes: dict[int, list[float]] = field(default_factory=dict)  # percentiles of expected sizes
    records: dict[int, Record] = field(default_factory=dict)

    def close(self, open_time: int, price: float) -> None:
        if not math.isfinite(price):
            return
        self.closes[open_time] = price
        if len(self.closes) > SPARK:
            self.closes = dict(sorted(self.closes.items())[-SPARK:])

    def predicted(self, row: Row) -> None:
        if not all(math.isfinite(row[name]) and row[name] > 0 for name in _PRICES):
            return
        before = self.ahead.get(row["horizon"])
        if before is None or _age_key(row) >= _age_key(before):
            self.ahead[row["horizon"]] = row


class Overview:
    """The cards of all series; `cards` may be called at any time and reads memory alone."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._known: dict[Series, _Known] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._looked: dict[str, float | None] = {}
        self._read_until: dict[str, int] = {}
        self._sizes_at = float("-inf")
        self._unfollow = sources.newest.follow(self._predicted)
        self._thread = threading.Thread(target=self._run, name="overview", daemon=True)

    def start(self) -> "Overview":
        """Begin to look."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End the thread."""
        self._unfollow()
        self._stopping.set()
        self._thread.join()

    def cards(self) -> list[Card]:
        """A card each, by symbol and length of the bars."""
        with self._lock:
            ordered = sorted(self._known, key=lambda s: (s[0], TIMEFRAME_MS.get(s[1], 0)))
            return [_card(series, self._known[series]) for series in ordered]

    def refresh(self) -> None:
        """Look once at what has changed since the last time."""
        tables = self._sources.tables
        known = tables.series()
        for symbol, timeframe in self._sources.newest.series() - self._known.keys():
            for row in self._sources.newest.predictions(symbol, timeframe):
                self._predicted(row)
        bars, predictions = self._changed("bars"), self._changed("predictions")
        if known and (bars or predictions):
            self._read_bars(known)
        if self._changed("scores"):
            self._read_records()
        if predictions and time.monotonic() - self._sizes_at > SIZES_EVERY_S:
            self._sizes_at = time.monotonic()
            self._read_sizes()

    def _run(self) -> None:
        failed = ""
        while not self._stopping.is_set():
            try:
                self.refresh()
                failed = ""
            except Exception as error:  # whatever it is, the thread lives on
                self._looked.clear()  # what could not be read is read again
                self._read_until.clear()
                if str(error) != failed:  # once, not every two seconds
                    event(log, "overview_failed", level=logging.WARNING, reason=error)
                failed = str(error)
            self._stopping.wait(REFRESH_S)

    def _changed(self, table: str) -> bool:
        at = self._sources.tables.written_at(table)
        changed, self._looked[table] = at != self._looked.get(table), at
        return changed and at is not None

    def _read_bars(self, known: Mapping[Series, int]) -> None:
        """The bars of a sparkline for series not met before, then those that came since."""
        for timeframe in {timeframe for _, timeframe in known}:
            length = TIMEFRAME_MS[timeframe]
            newest = {s: at for s, at in known.items() if s[1] == timeframe}
            with self._lock:
                fresh = [s for s in newest if s not in self._known or not self._known[s].closes]
            starts = [newest[series] - SPARK * length for series in fresh]
            since = max(0, min([self._read_until.get(timeframe, max(newest.values())), *starts]))
            self._read_until[timeframe] = max(newest.values()) - length
            values = {"interval": timeframe, "since": since}
            bars = self._sources.tables.rows(_CLOSES, {"bars": since}, values)
            # Without a broker the tables alone tell what is predicted.
            told = fresh or self._sources.newest.state != "connected"
            wide = max(0, max(newest.values()) - SPARK * length)
            made = self._newest_predictions({**values, "since": min(since, wide)}) if told else []
            with self._lock:
                for symbol, opened, close in bars.itertuples(index=False):
                    self._known.setdefault((symbol, timeframe), _Known()).close(opened, close)
                for row in made:
                    self._known.setdefault((row["symbol"], timeframe), _Known()).predicted(row)

    def _newest_predictions(self, values: Mapping[str, Any]) -> list[Row]:
        rows = self._sources.tables.rows(_NEWEST, {"predictions": values["since"]}, values)
        return [{str(k): v for k, v in row.items()} for row in rows.to_dict("records")]

    def _read_sizes(self) -> None:
        newest = max(self._sources.tables.series().values(), default=0)
        since = max(0, newest - WEEK_MS)
        rows = self._sources.tables.rows(_SIZES, {"predictions": since}, {"since": since})
        with self._lock:
            for symbol, timeframe, horizon, sizes in rows.itertuples(index=False):
                known = self._known.setdefault((symbol, timeframe), _Known())
                known.sizes[horizon] = list(sizes)

    def _read_records(self) -> None:
        board = self._sources.tables.scores()
        if board is None:
            return
        with self._lock:
            for key, rows in board.groupby(["symbol", "interval", "horizon"]):
                symbol, timeframe, horizon = cast(tuple[str, str, int], key)
                known = self._known.setdefault((symbol, timeframe), _Known())
                known.records[horizon] = record_of(rows)

    def _predicted(self, row: Row) -> None:
        series = row["symbol"], row["interval"]
        if series[1] not in TIMEFRAME_MS:
            return
        with self._lock:
            if series not in self._known and len(self._known) >= MOST_SERIES:
                return  # whoever may write to the topic may make up names
            known = self._known.setdefault(series, _Known())
            opened = row["as_of"] - TIMEFRAME_MS[series[1]]
            if opened not in known.closes:  # the bar itself may have been revised meanwhile
                known.close(opened, row["last_close"])
            known.predicted(row)


def verdict(skill: float | None, p_value: float | None) -> str:
    """What the figures allow to say: a skill that chance explains says nothing.

    >>> verdict(0.03, 0.2), verdict(0.03, 0.01), verdict(-0.03, 0.01), verdict(None, None)
    ('early', 'better', 'worse', 'early')
    """
    if skill is None or p_value is None or not p_value < LEVEL:
        return "early"
    return "better" if skill > 0 else "worse"


def livelier(row: Row, sizes: list[float]) -> float | None:
    """The share of the week's expected sizes of this series and horizon that were smaller."""
    scale = row["scale"]
    if not sizes or scale is None or not scale > 0:
        return None
    return bisect_left(sizes, scale) / len(sizes)


def record_of(rows: pd.DataFrame) -> Record:
    """The record shown of one series and horizon: live before backfilled, a week before others."""
    order = {span: place for place, span in enumerate(SPANS_SHOWN)}
    ranked = rows.assign(_place=rows["span"].map(order)).sort_values(
        ["backfilled", "last_target", "_place"], ascending=[True, False, True]
    )
    best: dict[Any, Any] = {
        name: None if pd.isna(value) else value for name, value in ranked.iloc[0].to_dict().items()
    }
    return Record(
        span=best["span"],
        backfilled=best["backfilled"],
        model_version=best["model_version"],
        predictions=best["predictions"],
        skill=best["skill_persistence"],
        p_value=best["dm_p_persistence"],
        verdict=verdict(best["skill_persistence"], best["dm_p_persistence"]),
        covered=best["interval_coverage"],
        promised=best["promised_coverage"],
    )


def _card(series: Series, known: _Known) -> Card:
    closes = sorted(known.closes.items())
    return Card(
        symbol=series[0],
        interval=series[1],
        times=[opened for opened, _ in closes],
        closes=[price for _, price in closes],
        ahead=[_ahead(known, horizon) for horizon in sorted(_together(known.ahead.values()))],
    )


def _together(rows: Iterable[Row]) -> list[int]:
    """The horizons predicted from the newest bar: another's belong to a model of before."""
    kept = list(rows)
    newest = max((row["as_of"] for row in kept), default=0)
    return [row["horizon"] for row in kept if row["as_of"] == newest]


def _ahead(known: _Known, horizon: int) -> Ahead:
    row: dict[str, Any] = known.ahead[horizon]
    named = {name: _known(row[name]) for name in Ahead.model_fields if name in row}
    share = livelier(row, known.sizes.get(horizon, []))
    return Ahead(**named, livelier=share, record=known.records.get(horizon))


def _known(value: Any) -> Any:
    """The value, or None for what is not there."""
    return None if pd.isna(value) else value


def _age_key(row: Row) -> tuple[int, int]:
    return row["as_of"], row["predicted_at"]
