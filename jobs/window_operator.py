"""The stateful operator of the stream: checked bars in, windows to predict and rows to keep out."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql.streaming import StatefulProcessor, StatefulProcessorHandle
from pyspark.sql.types import BinaryType, StructField, StructType

from conf.intervals import INTERVAL_MS
from conf.settings import Sentiment, Window
from jobs.contents import ARTICLES, BARS, NEWS, REFUSED
from jobs.news_state import SCHEMA, NewsOfShard
from jobs.packed import PACKED
from jobs.shard_log import ShardLog, ShardSettings
from jobs.shard_state import VALUES, Advance
from jobs.windows import Emission
from model.features import sequence_steps
from model.news import NEWS_COLUMNS, news_of_bars
from model.packed import constant, from_bytes, to_bytes

WINDOWS: Final = "windows"
TOLD: Final = "told"
SKIPPED: Final = "skipped"
REJECTED: Final = "rejected"

# One shape for what leaves the operator, since an operator has one output. A row holds many:
#   bars      good messages as they came
#   windows   windows that became complete at the interval `label`: symbol, as_of, end; `bars` holds
#             their bars, float64 bytes of (n_bars, 6), and `end` is a window's last row there
#   told      the same where the news are known: also interval, open_time and NEWS_COLUMNS of the
#             window's last bar; `bars` is (n_bars, 11)
#   skipped   bars whose window is not complete, for the reason `label` (model.serve.ABSTAINED)
#   rejected  messages that break a rule, with reason and place
#   articles  news as they came, with their score
OUTPUT: Final = f"kind string, label string, rows long, {PACKED} binary, bars binary"
BAR_COLUMNS: Final = ["symbol", "interval", "open_time", *VALUES, "source", "fetched_at"]

_DAY_MS: Final = 86_400_000
Row = tuple[str, str | None, int, bytes, bytes | None]


def with_windows(
    messages: DataFrame, window: Window, sentiment: Sentiment, forget_after_days: float
) -> DataFrame:
    """Run the operator, shard by shard, over the output of `read_messages`, and of `read_news`
    where the news count; the column `content` says which of the two a row is of."""
    return messages.groupBy("shard").transformWithStateInPandas(
        statefulProcessor=ShardWindows(window, sentiment, forget_after_days),
        outputStructType=OUTPUT,
        outputMode="append",
        timeMode="none",
    )


class ShardWindows(StatefulProcessor):
    """Keeps the window state of the shards and emits each window once, when it is complete."""

    def __init__(self, window: Window, sentiment: Sentiment, forget_after_days: float) -> None:
        self._settings = ShardSettings(
            window.lookback, window.late_bars, window.shards, round(forget_after_days * _DAY_MS)
        )
        self._reads_news = sentiment.enabled
        self._news_silent_ms = round(sentiment.silent_after_s * 1000)

    def init(self, handle: StatefulProcessorHandle) -> None:
        """Called by Spark on the worker before any rows."""
        self._log = ShardLog(handle, self._settings)
        if self._reads_news:
            schema = StructType([StructField("news", BinaryType())])
            self._news_state = handle.getValueState("news", schema)

    def handleInputRows(  # type: ignore[override]  # noqa: N802 - Spark's name
        self,
        key: Any,
        rows: Iterator[pd.DataFrame],
        timerValues: Any,  # noqa: N803
    ) -> Iterator[pd.DataFrame]:
        """Called by Spark once a shard and micro-batch, with all its rows."""
        sent: dict[str, list[pa.Table]] = {}
        for frame in rows:
            for content, value in zip(frame["content"], frame[PACKED], strict=True):
                sent.setdefault(content, []).append(from_bytes(value))
        found: list[Row] = []
        for content, kind in ((REFUSED, REJECTED), (ARTICLES, ARTICLES)):
            found += [row(kind, table) for table in sent.get(content, [])]
        # The news of a micro-batch count for its bars.
        news = self._news(sent.get(NEWS, []))
        if BARS in sent:
            bars = pa.concat_tables(sent[BARS])
            found.append(row(BARS, bars.select(BAR_COLUMNS)))
            lookback = self._settings.lookback
            for advance in self._log.advance(key[0], bars):
                found += emission_rows(advance, lookback, news)
        yield pd.DataFrame(found, columns=["kind", "label", "rows", PACKED, "bars"])

    def close(self) -> None:
        """Called by Spark on the worker at the end."""

    def _news(self, arrived: list[pa.Table]) -> NewsOfShard | None:
        """The news of this shard with those that arrived; None where they do not count."""
        if not self._reads_news:
            return None
        held, silent_ms = self._news_state.get(), self._news_silent_ms
        news = (
            NewsOfShard.from_bytes(bytes(held[0]), silent_ms)
            if held
            else NewsOfShard.empty(silent_ms)
        )
        if arrived:
            table = pa.concat_tables(arrived)
            articles = table.filter(pc.is_valid(table["key"])).select(SCHEMA.names)
            news.add(articles, pc.max(table["listed_until"]).as_py() or 0)
            self._news_state.update((news.to_bytes(),))
        return news


def emission_rows(advance: Advance, lookback: int, news: NewsOfShard | None) -> Iterator[Row]:
    """The rows of kind `windows`, `told` and `skipped` for what the series of an interval emitted.

    No window waits for news: one whose news are not known is a row of `windows`.
    """
    interval, emission = advance.interval, advance.emission
    length = INTERVAL_MS[interval]
    names = pa.array(advance.symbols, pa.string())
    if len(emission.ends):
        as_of = (emission.slots + 1) * length
        symbols = names.take(pa.array(emission.rows))
        columns = {"symbol": symbols, "as_of": pa.array(as_of), "end": pa.array(emission.ends)}
        windows = pa.table(columns)
        told = np.zeros(len(windows), bool)
        if news is not None:
            told = news.known(as_of - sequence_steps(lookback) * length, as_of)
        if told.any():
            yield told_row(advance, windows, told, news)
        if not told.all():
            untold = windows.filter(pa.array(~told))
            yield row(WINDOWS, untold, interval, emission.bars.tobytes())
    for reason, (rows, slots) in emission.skipped.items():
        if len(rows):
            skipped = {
                "symbol": names.take(pa.array(rows)),
                "interval": constant(interval, len(rows)),
                "as_of": pa.array((slots + 1) * length),
                "reason": constant(reason, len(rows)),
            }
            yield row(SKIPPED, pa.table(skipped), reason)


def told_row(
    advance: Advance, windows: pa.Table, told: NDArray[np.bool_], news: NewsOfShard | None
) -> Row:
    """The row of kind `told` for those windows whose news are known."""
    assert news is not None
    interval, emission = advance.interval, advance.emission
    bars = with_news_of_bars(emission, advance.symbols, INTERVAL_MS[interval], news)
    of_last = bars[emission.ends, len(VALUES) :][told]
    chosen = windows.filter(pa.array(told))
    open_time = pc.subtract(chosen["as_of"], INTERVAL_MS[interval])
    chosen = chosen.append_column("interval", constant(interval, len(chosen)))
    chosen = chosen.append_column("open_time", open_time)
    for place, name in enumerate(NEWS_COLUMNS):
        chosen = chosen.append_column(name, pa.array(of_last[:, place]))
    return row(TOLD, chosen, interval, bars.tobytes())


def with_news_of_bars(
    emission: Emission, symbols: list[str], interval_ms: int, news: NewsOfShard
) -> NDArray[np.float64]:
    """The emission's bars (n_bars, 11), with NEWS_COLUMNS behind them."""
    count = len(emission.bars)
    told = np.zeros((count, len(NEWS_COLUMNS)))
    # Bars of one series follow on one another; where series or stretch changes, so does this.
    shift = emission.slots - emission.ends
    begins = (np.diff(emission.rows, prepend=-1) != 0) | (np.diff(shift, prepend=shift[0]) != 0)
    firsts = np.flatnonzero(begins)
    lasts = np.append(firsts[1:], len(shift)) - 1
    bounds = np.append(0, emission.ends[lasts] + 1)
    newest = int(emission.slots.max() + 1) * interval_ms
    oldest = int((shift[firsts] + bounds[:-1]).min()) * interval_ms
    articles = news.between(oldest, newest)
    if len(articles):
        for first, begin, end in zip(firsts, bounds[:-1], bounds[1:], strict=True):
            open_time = int(shift[first] + begin) * interval_ms
            symbol = symbols[emission.rows[first]]
            told[begin:end] = news_of_bars(articles, symbol, interval_ms, open_time, end - begin)
    return np.concatenate([emission.bars, told], axis=1)


def row(kind: str, table: pa.Table, label: str | None = None, bars: bytes | None = None) -> Row:
    """A row in the operator's output shape."""
    return kind, label, len(table), to_bytes(table), bars
