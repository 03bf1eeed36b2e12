"""What the stateful operator does: checked bars in, windows to predict and rows to keep out."""

from collections.abc import Collection, Iterator, Mapping
from itertools import product
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
from store.schema import BARS as BAR_TABLE
from stream.contents import ARTICLES, BARS, LEADERS, NEWS, REJECTED, WAKE_UPS
from stream.packed import PACKED, constant, from_bytes, to_bytes, with_width
from stream.state.change import CHANGE_COLUMNS, CHANGE_SCHEMA, Arrived, WakeUp, change_of
from stream.state.leading import Stretches
from stream.state.rings import Emission
from stream.state.settings import ShardSettings, StateVariables
from stream.state.shard import Advance, Shard
from stream.state.shard_news import SCHEMA, NewsOfShard
from stream.state.shard_store import Copy, ShardStore, market_of

WINDOWS: Final = "windows"
WITH_NEWS: Final = "with_news"
WAITS: Final = "waits"
WAITED: Final = "waited"
SKIPPED: Final = "skipped"

# One shape for what leaves the operator, since an operator has one output. A row holds many:
#   bars       good messages as they arrived
#   windows    windows that became complete in the timeframe `label`: symbol, as_of, end; `bars`
#              holds their bars, float64 bytes of (n_bars, n_columns), `end` a window's last row
#              there; `width_of` says how many columns
#   with_news  the same where the news are known: also interval, open_time and NEWS_COLUMNS of the
#              window's last bar
#   waits      bars that wait for leaders, until `label` (epoch ms of their topic)
#   waited     those whose wait is over, and windows without leaders: `label` says how
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

Row = tuple[str, str | None, int, bytes | None, bytes | None]

# How a wait ended: the leaders' bars came, or it ran out; and windows that the model in service
# could not read, whether their bars waited or not.
CAME: Final = "came"
RAN_OUT: Final = "ran_out"
WITHOUT: Final = "without"
_NO_ROWS: Final = pa.schema([*CHANGE_SCHEMA, ("partition", pa.int32())]).empty_table()

# What this worker keeps from one micro-batch to the next: Spark makes an operator for each task.
_copies: Final[dict[int, Copy]] = {}


def rows_of_shard(
    shard: int,
    frames: Iterator[pd.DataFrame],
    variables: StateVariables,
    settings: ShardSettings,
    news_silent_ms: int | None,
    wanted: Collection[str] = (),
) -> pd.DataFrame:
    """`OUTPUT` for what a micro-batch brought a shard, in `frames` of `CONTENTS`; its state is
    read and written.

    wanted: the timeframes whose model in this micro-batch reads leaders.
    """
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
    change = change_in(sent, settings, wanted)
    if change is not None:  # a wake-up alone is a change without a row
        for advance in ShardStore(variables, settings, _copies).advance(shard, change):
            found += emission_rows(advance, settings.lookback, news)
        found += waits_of(shard, _copies[shard].shard)
    return pd.DataFrame(found, columns=OUTPUT.names)


def change_in(
    sent: Mapping[str, list[pa.Table]], settings: ShardSettings, wanted: Collection[str]
) -> pa.Table | None:
    """What the shard takes in of a micro-batch's contents; None where there is nothing."""
    market = market_of(settings.market)
    if market is None:
        return pa.concat_tables(sent[BARS]).select(CHANGE_COLUMNS) if BARS in sent else None
    if not sent.keys() & {BARS, LEADERS, WAKE_UPS}:
        return None
    bars = pa.concat_tables(sent.get(BARS, [_NO_ROWS])).select(CHANGE_COLUMNS)
    copies = pa.concat_tables(sent.get(LEADERS, [_NO_ROWS]))
    wake_ups = [WakeUp(**one) for table in sent.get(WAKE_UPS, []) for one in table.to_pylist()]
    wait_ms = round(market.wait_s * 1000)
    return change_of(bars, Arrived(copies, wake_ups, frozenset(wanted), wait_ms))


def waits_of(key: int, shard: Shard) -> Iterator[Row]:
    """The rows of kind `waits` and `waited` about the bars that have to wait.

    That none waits is said, too: who counts over all shards hears of those reached alone.
    """
    if shard.leaders is not None:
        waits = shard.leaders.waits
        until = waits.until if waits.held else 0
        yield WAITS, f"{key} {until}", waits.held, None, None
        for label, count in ((CAME, waits.came), (RAN_OUT, waits.ran_out)):
            if count:
                yield WAITED, label, count, None, None


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

    No window waits here: what is not known of one when it is complete, it goes without.
    """
    timeframe, emission = advance.timeframe, advance.emission
    length = TIMEFRAME_MS[timeframe]
    if len(emission.ends):
        yield from window_rows(advance, lookback, news)
    names = pa.array(advance.symbols, pa.string())
    for reason, (rows, slots) in emission.skipped.items():
        if len(rows):
            skipped = {
                "symbol": names.take(pa.array(rows)),
                "interval": constant(timeframe, len(rows)),
                "as_of": pa.array((slots + 1) * length),
                "reason": constant(reason, len(rows)),
            }
            yield row(SKIPPED, pa.table(skipped), reason)


def window_rows(advance: Advance, lookback: int, news: NewsOfShard | None) -> Iterator[Row]:
    """The windows that became complete: with and without their news and their leaders apart."""
    timeframe, emission = advance.timeframe, advance.emission
    length = TIMEFRAME_MS[timeframe]
    as_of = (emission.slots + 1) * length
    symbols = pa.array(advance.symbols, pa.string()).take(pa.array(emission.rows))
    windows = pa.table({"symbol": symbols, "as_of": as_of, "end": emission.ends})
    news_known, news_columns = np.zeros(len(windows), bool), None
    if news is not None:
        news_known = news.known(as_of - sequence_steps(lookback) * length, as_of)
        if news_known.any():
            news_columns = news_of_emission(emission, advance.symbols, length, news)
    led, leader_columns = np.zeros(len(windows), bool), None
    if advance.leading is not None:
        leader_columns, led = advance.leading.columns(advance.symbols, emission)
        if not led.all():
            yield WAITED, WITHOUT, int((~led).sum()), None, None
    for with_news, with_leaders in product((False, True), repeat=2):
        chosen = (news_known == with_news) & (led == with_leaders)
        if chosen.any():
            columns = [emission.bars]
            some = windows.filter(pa.array(chosen))
            if with_news:
                assert news_columns is not None
                columns.append(news_columns)
                of_last = news_columns[emission.ends[chosen]]
                some = with_news_of_last(some, timeframe, of_last)
            if with_leaders:
                assert leader_columns is not None
                columns.append(leader_columns)
            bars = np.concatenate(columns, axis=1) if len(columns) > 1 else emission.bars
            kind = WITH_NEWS if with_news else WINDOWS
            yield row(kind, with_width(some, bars.shape[1]), timeframe, bars.tobytes())


def with_news_of_last(windows: pa.Table, timeframe: str, of_last: NDArray[np.float64]) -> pa.Table:
    """The windows as they are stored with the news of each one's last bar (n_windows, 5)."""
    open_time = pc.subtract(windows["as_of"], TIMEFRAME_MS[timeframe])
    windows = windows.append_column("interval", constant(timeframe, len(windows)))
    windows = windows.append_column("open_time", open_time)
    for place, name in enumerate(NEWS_COLUMNS):
        windows = windows.append_column(name, pa.array(of_last[:, place]))
    return windows


def news_of_emission(
    emission: Emission, symbols: list[str], bar_ms: int, news: NewsOfShard
) -> NDArray[np.float64]:
    """NEWS_COLUMNS of the emission's bars, (n_bars, 5)."""
    columns = np.zeros((len(emission.bars), len(NEWS_COLUMNS)))
    stretches = Stretches.of(emission)
    newest = int(emission.slots.max() + 1) * bar_ms
    oldest = int(stretches.slot.min()) * bar_ms
    articles = news.between(oldest, newest)
    if len(articles):
        bounds = stretches.bounds.tolist()
        for number, (row_of, slot) in enumerate(zip(stretches.row, stretches.slot, strict=True)):
            begin, end = bounds[number], bounds[number + 1]
            open_time = int(slot) * bar_ms
            columns[begin:end] = news_of_bars(
                articles, symbols[row_of], bar_ms, open_time, end - begin
            )
    return columns


def row(kind: str, table: pa.Table, label: str | None = None, bars: bytes | None = None) -> Row:
    """A row in the operator's output shape."""
    return kind, label, len(table), to_bytes(table), bars
