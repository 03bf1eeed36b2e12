"""What the page asks of the Parquet tables, through DuckDB and the views of `sql/`.

A question about a range of time is put to those files alone that can hold rows of it
(`store/readable.py`), since a table may have thousands.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import duckdb
import pandas as pd

from conf.symbol import coins_of
from conf.timeframes import TIMEFRAME_MS, WEEK_MS
from store.footer import File
from store.schema import PREDICTIONS, TIMES_MS
from store.views import ask, files_of

Series = tuple[str, str]  # symbol, interval

# Files, and rows in them, looked into at a time for series not seen yet.
SERIES_STEP: Final = 200
SERIES_ROWS: Final = 200_000
# By how much a range is widened where it has fewer predictions than were asked for.
WIDER: Final = 8
# More candles than these are a smear on any screen: neighbours are drawn as one.
MAX_CANDLES: Final = 1_500
MAX_PREDICTIONS: Final = 50_000

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
  AND as_of <= make_timestamp($until::BIGINT * 1000)
  AND epoch_ms(target_time) % $step = 0
ORDER BY as_of DESC, horizon DESC LIMIT $most
"""
_OUTLOOK: Final = """
SELECT * FROM outlook WHERE symbol = $symbol AND interval = $interval ORDER BY horizon
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
  AND (coins = '' OR list_contains(string_split(coins, ','), $coin))
ORDER BY available_at DESC LIMIT $most
"""
_IN_STEPS: Final = {"bars": _CANDLES, "sentiment": _SENTIMENT}
_SCORES: Final = """
SELECT * FROM scoreboard
WHERE ($span IS NULL OR span = $span) AND ($backfilled IS NULL OR backfilled = $backfilled)
ORDER BY ALL
"""
_SKIPPED: Final = "SELECT reason, count(*) AS bars FROM skipped GROUP BY reason ORDER BY 2 DESC"


def _step(timeframe: str, bars: int) -> int:
    """Over how many ms neighbours are drawn as one, where there are so many bars."""
    return TIMEFRAME_MS[timeframe] * max(1, -(-bars // MAX_CANDLES))


def _first(files: Iterable[File]) -> list[str]:
    """The paths of those with the newest bars, as many as are looked into at a time."""
    by_time = sorted(files, key=lambda one: (-(one.newest_ms or 0), one.path))[:SERIES_STEP]
    before = accumulate((one.rows for one in by_time), initial=0)
    return [one.path for one, rows in zip(by_time, before, strict=False) if rows < SERIES_ROWS]


class Tables:
    """Reads the warehouse for the page; each query sees what is there when it begins."""

    def __init__(self, warehouse_dir: Path) -> None:
        self._dir = warehouse_dir
        self._files = files_of(warehouse_dir)
        self._series: dict[Series, int] = {}
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def series(self) -> dict[Series, int]:
        """Every series with the open time (epoch ms) of its newest bar; the newest bars first.

        A long history is looked through in steps, one a call.
        """
        with self._lock:
            files = {one.path: one for one in self._files["bars"].all()}
            self._seen &= files.keys()
            fresh = _first(files[path] for path in files.keys() - self._seen)
            if fresh:
                found = self._ask("bars", _SERIES, lambda: self._files["bars"].at(fresh))
                rows: Iterator[Any] = found.itertuples(index=False)
                for symbol, timeframe, newest in rows:
                    known = self._series.get((symbol, timeframe), 0)
                    self._series[symbol, timeframe] = max(known, newest)
                self._seen |= set(fresh)
            return dict(self._series)

    def series_of(
        self, table: str, symbol: str, timeframe: str, since_ms: int, bars: int
    ) -> pd.DataFrame:
        """Candles (`bars`) or `sentiment` of one series from `since_ms` on.

        A row stands for one bar, or for several where `bars` are very many.
        """
        values = {"symbol": symbol, "interval": timeframe, "since": since_ms}
        values |= {"step": _step(timeframe, bars)}
        return self._since(table, _IN_STEPS[table], since_ms, values)

    def predictions(
        self, symbol: str, timeframe: str, since_ms: int, bars: int, until_ms: int, most: int
    ) -> pd.DataFrame:
        """The newest `most` predictions of a series in a range of time, ascending.

        Where `bars` are very many, those of every so-manieth bar. Read are no older files than it
        takes to find so many.
        """
        step = _step(timeframe, bars)
        values = {"symbol": symbol, "interval": timeframe, "until": until_ms, "step": step}
        newest = [one.newest_ms for one in self._files["predictions"].since(since_ms)]
        end = min(until_ms, max((time for time in newest if time is not None), default=until_ms))
        reach = most * step
        while True:
            start = max(since_ms, end - reach)
            rows = self._since(
                "predictions", _PREDICTIONS, start, {**values, "since": start, "most": most}
            )
            if len(rows) >= most or start == since_ms:
                return rows.iloc[::-1].reset_index(drop=True)
            reach *= WIDER

    def outlook(self, symbol: str, timeframe: str) -> pd.DataFrame:
        """The rows of the view `outlook` of a series, by horizon."""
        newest = self.predictions(symbol, timeframe, 0, 1, TIMES_MS[1], 1)["as_of"].max()
        since_ms = 0 if pd.isna(newest) else int(newest.timestamp() * 1000) - WEEK_MS
        values = {"symbol": symbol, "interval": timeframe}
        return self._since("predictions", _OUTLOOK, max(0, since_ms), values)

    def articles(self, symbol: str, since_ms: int, most: int) -> pd.DataFrame:
        """The newest articles about the symbol's coin, or the market, since `since_ms`."""
        values = {"coin": coins_of(symbol)[0], "since": since_ms, "most": most}
        return self._since("articles", _ARTICLES, since_ms, values)

    def skipped(self, since_ms: int) -> dict[str, int]:
        """Bars without a prediction by reason, of what was written since `since_ms`."""
        files = self._files["skipped"]
        rows = self._ask("skipped", _SKIPPED, lambda: files.written_since(since_ms))
        return dict(zip(rows["reason"], rows["bars"].tolist(), strict=True))

    def scores(
        self, span: str | None = None, backfilled: bool | None = None
    ) -> pd.DataFrame | None:
        """The scoreboard, or some of it; None before `candlecast score` has computed one."""
        if not self._files["scores"].all():
            return None
        return self._since("scores", _SCORES, 0, {"span": span, "backfilled": backfilled})

    def drift(self) -> pd.DataFrame:
        """The newest drift figures of each champion."""
        return self._since("drift", "SELECT * FROM drift ORDER BY ALL", 0)

    def written_at(self, table: str) -> float | None:
        """When a table last grew, unix seconds; None while it is empty."""
        return max(self._files[table].changed_at().values(), default=None)

    def left_aside(self) -> dict[str, str]:
        """The files that can't be read, each with the reason."""
        found = [one.left_aside() for one in self._files.values()]
        return {path: reason for one in found for path, reason in one.items()}

    def _since(
        self, table: str, query: str, since_ms: int, values: Mapping[str, object] | None = None
    ) -> pd.DataFrame:
        return self._ask(table, query, lambda: self._files[table].since(since_ms), values)

    def rows(
        self, query: str, since_ms: Mapping[str, int], values: Mapping[str, object] | None = None
    ) -> pd.DataFrame:
        """The rows of a query over some tables, of folders written since a time (epoch ms) each."""

        def question(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
            return connection.execute(query, values).df()

        def files() -> dict[str, list[str]]:
            found = {table: self._files[table].since(at) for table, at in since_ms.items()}
            return {table: [one.path for one in named] for table, named in found.items()}

        return ask(self._dir, question, files)

    def _ask(
        self,
        table: str,
        query: str,
        files: Callable[[], Sequence[File]],
        values: Mapping[str, object] | None = None,
    ) -> pd.DataFrame:
        def question(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
            return connection.execute(query, values).df()

        return ask(self._dir, question, lambda: {table: [one.path for one in files()]})
