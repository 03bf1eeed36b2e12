"""What the page asks of the Parquet tables, through DuckDB and the views of `sql/`.

Thirty days of minutes are 43,000 folders a table until they are compacted. A bar can't be written
before it has closed, so that a range of time needs only folders changed since its beginning: of
these alone the names are handed to DuckDB.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import duckdb
import pandas as pd

from conf.timeframes import TIMEFRAME_MS
from store.files import BATCH
from store.schema import PREDICTIONS, TABLES
from store.views import open_duckdb

Series = tuple[str, str]  # symbol, interval

# Folders looked into at a time for series not seen yet.
SERIES_STEP: Final = 200
# More candles than these are a smear on any screen: neighbours are drawn as one.
MAX_CANDLES: Final = 1_500

# What the page and the API show of a prediction.
PREDICTION_COLUMNS: Final = [n for n in PREDICTIONS.columns if n not in ("query_id", "batch_id")]

_SERIES: Final = "SELECT symbol, interval, epoch_ms(max(open_time)) FROM bars_raw GROUP BY ALL"
# A number comes to DuckDB in the narrowest type that holds it, in which times of 1970 overflow.
_CANDLES: Final = """
SELECT min(open_time) AS open_time, arg_min(open, open_time) AS open, max(high) AS high,
       min(low) AS low, arg_max(close, open_time) AS close, max(close_time) AS close_time,
       sum(base_volume) AS base_volume
FROM bars
WHERE symbol = $symbol AND interval = $interval
  AND open_time >= make_timestamp($since::BIGINT * 1000)
GROUP BY epoch_ms(open_time) // $step ORDER BY 1
"""
_PREDICTIONS: Final = f"""
SELECT {", ".join(PREDICTION_COLUMNS)}
FROM predictions
WHERE symbol = $symbol AND interval = $interval
  AND as_of >= make_timestamp($since::BIGINT * 1000)
  AND epoch_ms(as_of) % $step = 0
ORDER BY as_of, horizon
"""
_SENTIMENT: Final = """
SELECT min(open_time) AS open_time, sum(count) AS articles,
       sum(weighted_mean * count) / sum(count) AS score
FROM sentiment
WHERE symbol = $symbol AND interval = $interval
  AND open_time >= make_timestamp($since::BIGINT * 1000)
GROUP BY epoch_ms(open_time) // $step HAVING sum(count) > 0 ORDER BY 1
"""
_ARTICLES: Final = """
SELECT available_at, published_at, source, title, score
FROM articles
WHERE available_at >= make_timestamp($since::BIGINT * 1000)
  AND (coins = '' OR list_contains(string_split(coins, ','), split_part($symbol, '-', 1)))
ORDER BY available_at DESC LIMIT $most
"""
_IN_STEPS: Final = {"bars": _CANDLES, "predictions": _PREDICTIONS, "sentiment": _SENTIMENT}
_SKIPPED: Final = "SELECT reason, count(*) AS bars FROM skipped GROUP BY reason ORDER BY 2 DESC"


@dataclass
class Folders:
    """The committed folders of one table, each looked at once: they never change, only go."""

    path: Path
    _changed_at: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def refresh(self) -> dict[str, float]:
        """Folder names with the time they were written, unix seconds."""
        with self._lock:
            try:
                with os.scandir(self.path) as entries:
                    names = {e.name: e for e in entries if e.name.startswith(BATCH)}
            except FileNotFoundError:
                names = {}
            known = {n: at for n, at in self._changed_at.items() if n in names}
            for name in names.keys() - known.keys():
                try:
                    known[name] = names[name].stat().st_mtime
                except FileNotFoundError:
                    continue
            self._changed_at = known
            return known

    def since(self, time_ms: float) -> list[str]:
        """Patterns of the files that can hold rows from `time_ms` (epoch ms) on."""
        found = self.refresh().items()
        return [f"{self.path}/{name}/*.parquet" for name, at in found if at * 1000 >= time_ms]


class Tables:
    """Reads the warehouse for the page; each query sees what is there when it begins."""

    def __init__(self, warehouse_dir: Path, threads: int = 2) -> None:
        self._dir = warehouse_dir
        self._threads = threads
        self._folders = {table: Folders(warehouse_dir / table) for table in TABLES}
        self._series: dict[Series, int] = {}
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def series(self) -> dict[Series, int]:
        """Every series with the open time (epoch ms) of its newest bar; recent folders first.

        A long history is looked through in steps, one a call.
        """
        with self._lock:
            folders = self._folders["bars"].refresh()
            fresh = sorted(folders.keys() - self._seen, key=lambda n: -folders[n])[:SERIES_STEP]
            if fresh:
                files = [f"{self._dir}/bars/{name}/*.parquet" for name in fresh]
                rows: Iterator[Any] = self._ask("bars", _SERIES, files).itertuples(index=False)
                for symbol, timeframe, newest in rows:
                    known = self._series.get((symbol, timeframe), 0)
                    self._series[symbol, timeframe] = max(known, newest)
                self._seen |= set(fresh)
            return dict(self._series)

    def series_of(
        self, table: str, symbol: str, timeframe: str, since_ms: int, bars: int
    ) -> pd.DataFrame:
        """Candles (`bars`), `predictions` or `sentiment` of one series from `since_ms` on.

        A row stands for one bar, or for several where `bars` are very many.
        """
        step = TIMEFRAME_MS[timeframe] * max(1, -(-bars // MAX_CANDLES))
        values = {"symbol": symbol, "interval": timeframe, "since": since_ms, "step": step}
        return self._ask(table, _IN_STEPS[table], self._folders[table].since(since_ms), values)

    def articles(self, symbol: str, since_ms: int, most: int) -> pd.DataFrame:
        """The newest articles about the symbol's coin, or the market, since `since_ms`."""
        values = {"symbol": symbol, "since": since_ms, "most": most}
        files = self._folders["articles"].since(since_ms)
        return self._ask("articles", _ARTICLES, files, values)

    def skipped(self, since_ms: int) -> dict[str, int]:
        """Bars without a prediction by reason, of what was written since `since_ms`."""
        rows = self._ask("skipped", _SKIPPED, self._folders["skipped"].since(since_ms))
        return dict(zip(rows["reason"], rows["bars"].tolist(), strict=True))

    def scores(self) -> pd.DataFrame | None:
        """The scoreboard; None before `candlecast score` has computed one."""
        files = self._folders["scores"].since(0)
        return (
            self._ask("scores", "SELECT * FROM scoreboard ORDER BY ALL", files) if files else None
        )

    def drift(self) -> pd.DataFrame:
        """The newest drift figures of each champion."""
        files = self._folders["drift"].since(0)
        return self._ask("drift", "SELECT * FROM drift ORDER BY ALL", files)

    def written_at(self, table: str) -> float | None:
        """When a table last grew, unix seconds; None while it is empty."""
        return max(self._folders[table].refresh().values(), default=None)

    def _ask(
        self, table: str, query: str, files: list[str], values: Mapping[str, object] | None = None
    ) -> pd.DataFrame:
        try:
            with open_duckdb(self._dir, {table: files}, self._threads) as connection:
                return connection.execute(query, values).df()
        except duckdb.IOException:
            # A folder was compacted or dropped after it was listed, or holds no file yet.
            left = [file for file in files if any(Path(file).parent.glob("*.parquet"))]
            if left == files:
                raise
            return self._ask(table, query, left, values)
