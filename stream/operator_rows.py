"""What the stateful operator does: checked bars in, windows to predict and rows to keep out."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql.streaming.stateful_processor import ValueState
from pyspark.sql.types import BinaryType, LongType, StringType, StructField, StructType

from conf.timeframes import TIMEFRAME_MS
from model.features import sequence_steps
from model.layout import NEWS_COLUMNS
from model.news import news_of_bars
from model.series import VALUES
from store.schema import BARS as BAR_TABLE
from stream.contents import ARTICLES, BARS, NEWS, REJECTED
from stream.packed import PACKED, constant, from_bytes, to_bytes
from stream.state.rings import Emission, runs
from stream.state.settings import ShardSettings, StateVariables
from stream.state.shard import Advance
from stream.state.shard_news import SCHEMA, NewsOfShard
from stream.state.shard_store import Copy, ShardStore

WINDOWS: Final = "windows"
WITH_NEWS: Final = "with_news"
SKIPPED: Final = "skipped"

# One shape for what leaves the operator, since an operator has one output. A row holds many:
#   bars       good messages as they arrived
#   windows    windows that became complete in the timeframe `label`: symbol, as_of, end; `bars`
#              holds their bars, float64 bytes of (n_bars, 6), `end` a window's last row there
#   with_news  the same where the news are known: also interval, open_time and NEWS_COLUMNS of the
#              window's last bar; `bars` is (n_bars, 11)
#   skipped    bars whose window is not complete, for the reason `label`
#   rejected   messages that break a rule, with reason and place
#   articles   news as they arrived, with their sentiment score
OUTPUT: Final = StructType(
    [
        StructField("kind", StringType()),
        StructField("label", StringType()),
        StructField("rows", LongType()),
        StructField(PACKED, BinaryType()),
        StructField("bars", BinaryType()),
    ]
)

Row = tuple[str, str | None, int, bytes, bytes | None]

# What this worker keeps from one micro-batch to the next: Spark makes an operator for each task.
_copies: Final[dict[int, Copy]] = {}


def rows_of_shard(
    shard: int,
    frames: Iterator[pd.DataFrame],
    variables: StateVariables,
    settings: ShardSettings,
    news_silent_ms: int | None,
) -> pd.DataFrame:
    """`OUTPUT` for what a micro-batch brought a shard, in `frames` of `CONTENTS`; its state is
    read and written."""
    sent: dict[str, list[pa.Table]] = {}
    for frame in frames:
        for content, value in zip(frame["content"], frame[PACKED], strict=True):
            sent.setdefault(content, []).append(from_bytes(value))
    found: list[Row] = []
    for kind in (REJECTED, ARTICLES):
        found += [row(kind, table) for table in sent.get(kind, [])]
    # The news of a micro-batch count for its bars.
    news = None
    if variables.news is not None and news_silent_ms is not None:
        news = updated_news(variables.news, sent.get(NEWS, []), news_silent_ms)
    if BARS in sent:
        bars = pa.concat_tables(sent[BARS])
        found.append(row(BARS, bars.select(list(BAR_TABLE.columns))))
        for advance in ShardStore(variables, settings, _copies).advance(shard, bars):
            found += emission_rows(advance, settings.lookback, news)
    return pd.DataFrame(found, columns=OUTPUT.names)


def updated_news(variable: ValueState, arrived: list[pa.Table], silent_ms: int) -> NewsOfShard:
    """The news of a shard, with those that arrived."""
    held = variable.get()
    news = (
        NewsOfShard.from_bytes(bytes(held[0]), silent_ms) if held else NewsOfShard.empty(silent_ms)
    )
    if arrived:
        table = pa.concat_tables(arrived)
        articles = table.filter(pc.is_valid(table["key"])).select(SCHEMA.names)
        news.add(articles, pc.max(table["listed_until"]).as_py() or 0)
        variable.update((news.to_bytes(),))
    return news


def emission_rows(advance: Advance, lookback: int, news: NewsOfShard | None) -> Iterator[Row]:
    """The rows of kind `windows`, `with_news` and `skipped` for what a timeframe's series emitted.

    No window waits for news: one whose news are not known is a row of `windows`.
    """
    timeframe, emission = advance.timeframe, advance.emission
    length = TIMEFRAME_MS[timeframe]
    names = pa.array(advance.symbols, pa.string())
    if len(emission.ends):
        as_of = (emission.slots + 1) * length
        symbols = names.take(pa.array(emission.rows))
        columns = {"symbol": symbols, "as_of": pa.array(as_of), "end": pa.array(emission.ends)}
        windows = pa.table(columns)
        known = np.zeros(len(windows), bool)
        if news is not None:
            known = news.known(as_of - sequence_steps(lookback) * length, as_of)
            if known.any():
                yield row_with_news(advance, windows, known, news)
        if not known.all():
            without_news = windows.filter(pa.array(~known))
            yield row(WINDOWS, without_news, timeframe, emission.bars.tobytes())
    for reason, (rows, slots) in emission.skipped.items():
        if len(rows):
            skipped = {
                "symbol": names.take(pa.array(rows)),
                "interval": constant(timeframe, len(rows)),
                "as_of": pa.array((slots + 1) * length),
                "reason": constant(reason, len(rows)),
            }
            yield row(SKIPPED, pa.table(skipped), reason)


def row_with_news(
    advance: Advance, windows: pa.Table, known: NDArray[np.bool_], news: NewsOfShard
) -> Row:
    """The row of kind `with_news` for those windows whose news are `known`."""
    timeframe, emission = advance.timeframe, advance.emission
    bars = with_news_of_bars(emission, advance.symbols, TIMEFRAME_MS[timeframe], news)
    of_last = bars[emission.ends, len(VALUES) :][known]
    chosen = windows.filter(pa.array(known))
    open_time = pc.subtract(chosen["as_of"], TIMEFRAME_MS[timeframe])
    chosen = chosen.append_column("interval", constant(timeframe, len(chosen)))
    chosen = chosen.append_column("open_time", open_time)
    for place, name in enumerate(NEWS_COLUMNS):
        chosen = chosen.append_column(name, pa.array(of_last[:, place]))
    return row(WITH_NEWS, chosen, timeframe, bars.tobytes())


def with_news_of_bars(
    emission: Emission, symbols: list[str], bar_ms: int, news: NewsOfShard
) -> NDArray[np.float64]:
    """The emission's bars (n_bars, 11), with NEWS_COLUMNS behind them."""
    count = len(emission.bars)
    columns = np.zeros((count, len(NEWS_COLUMNS)))
    # Constant along the bars of one series without a jump.
    shift = emission.slots - emission.ends
    begins = (np.diff(emission.rows, prepend=-1) != 0) | (np.diff(shift, prepend=shift[0]) != 0)
    firsts, lasts = runs(begins)
    bounds = np.append(0, emission.ends[lasts] + 1)
    newest = int(emission.slots.max() + 1) * bar_ms
    oldest = int((shift[firsts] + bounds[:-1]).min()) * bar_ms
    articles = news.between(oldest, newest)
    if len(articles):
        for first, begin, end in zip(firsts, bounds[:-1], bounds[1:], strict=True):
            open_time = int(shift[first] + begin) * bar_ms
            symbol = symbols[emission.rows[first]]
            columns[begin:end] = news_of_bars(articles, symbol, bar_ms, open_time, end - begin)
    return np.concatenate([emission.bars, columns], axis=1)


def row(kind: str, table: pa.Table, label: str | None = None, bars: bytes | None = None) -> Row:
    """A row in the operator's output shape."""
    return kind, label, len(table), to_bytes(table), bars
