"""Leaders on the way from messages to predictions, without Spark: read, shard, operator, model."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final
from zlib import crc32

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from conf.sections import Market
from conf.sections import Registry as RegistrySettings
from ingest.bar import Bar
from ingest.wake import wake_message
from model.layout import BAR_COLUMNS, NEWS_COLUMNS, Layout
from model.registry import Registry
from model.served import ServedModel
from store.schema import PREDICTIONS
from stream import operator_rows
from stream.contents import CONTENTS, REJECTED, WAKE_UPS, contents
from stream.contents import LEADERS as COPIES
from stream.forecast_udf import forecast_windows
from stream.operator_rows import CAME, RAN_OUT, WAITED, WAITS, WITHOUT, rows_of_shard
from stream.packed import from_bytes, width_of
from stream.read_bars import packed_by_shard
from stream.state.settings import ShardSettings, StateVariables
from stream.state.shard_news import NewsOfShard
from tests.leaders import (
    LEADERS,
    MINUTE,
    START,
    SYMBOLS,
    Bars,
    assert_as_expected,
    expected,
)
from tests.stream.state.test_shard_store import Store

SENT_MS: Final = 1_800_000_000_000
NOW_MS: Final = 1_900_000_000_000
PARTITIONS: Final = 2
KEYS: Final = (7, 5)
MARKET: Final = Market(leaders=LEADERS, wait_s=2.0)


def messages(values: Any, partitions: Any, offsets: Any, arrived: Any) -> pa.RecordBatch:
    """Messages of the topic `bars` as they are read."""
    columns = {
        "value": pa.array(values),
        "topic": pa.array(["bars"] * len(values)),
        "partition": pa.array(partitions, pa.int32()),
        "offset": pa.array(offsets),
        "arrived_at": pa.array(arrived),
    }
    return pa.RecordBatch.from_pydict(columns)


class OneProcess:
    """What Spark's workers do with each micro-batch, one after the other, on two shards."""

    def __init__(self, settings: RegistrySettings) -> None:
        registry = Registry.of(settings)
        alone = ServedModel(registry.load("1m-1"))
        self.champion = ServedModel(registry.load("1m-2"), None, (alone,))
        self.stores = {key: Store() for key in KEYS}
        self.sent = 0
        self.counts: dict[str, int] = {}
        self.rejected = 0
        self.predicted: list[pa.Table] = []

    def publish(self, some: Iterable[Bar]) -> None:
        """A micro-batch of these bars, each a millisecond after the one before."""
        self.read([(bar.to_json(), crc32(bar.symbol.encode()) % PARTITIONS) for bar in some])

    def wake(self) -> None:
        """A micro-batch of wake-ups for all that was published."""
        message = wake_message(SENT_MS + self.sent + round(MARKET.wait_s * 1000), PARTITIONS)
        self.read([(message, partition) for partition in range(PARTITIONS)])

    def read(self, sent: list[tuple[bytes, int]]) -> None:
        values, partitions = zip(*sent, strict=True)
        offsets = np.arange(self.sent, self.sent + len(sent))
        self.sent += len(sent)
        batch = messages(values, partitions, offsets, SENT_MS + offsets)
        rows = list(packed_by_shard(batch, KEYS, NOW_MS, 0, MARKET.names))
        self.rejected += sum(content == REJECTED for *_, content in rows)
        self.counts = {}
        for key in {key for key, *_ in rows}:
            self.work_on(key, [row for row in rows if row[0] == key])

    def work_on(self, key: int, rows: list[tuple[int, bytes, str]]) -> None:
        operator_rows._copies.clear()  # noqa: SLF001 - each time another worker
        task = self.stores[key].task()
        made_with = ShardSettings(60, 60, len(KEYS), 10**15, MARKET.model_dump_json())
        variables = StateVariables.of(task, reads_news=False)  # type: ignore[arg-type]
        frame = pd.DataFrame(rows, columns=CONTENTS.names)
        out = rows_of_shard(key, iter([frame]), variables, made_with, None, ["1m"])
        task.commit()
        for kind, label, count, packed, raw in out.itertuples(index=False):
            if kind in (WAITS, WAITED) and count:
                name = kind if kind == WAITS else label
                self.counts[name] = self.counts.get(name, 0) + count
            elif kind == operator_rows.WINDOWS:
                found = forecast_windows(label, self.champion, from_bytes(packed), raw, ("q", 1))
                assert isinstance(found[1], bytes)
                self.predicted.append(from_bytes(found[1]).cast(PREDICTIONS.packed))

    def predictions(self) -> pd.DataFrame:
        found = pa.concat_tables(self.predicted).to_pandas()
        return found.assign(as_of=pd.to_datetime(found["as_of"], unit="ms", utc=True))


@pytest.fixture
def stream(led_registry: RegistrySettings) -> OneProcess:
    return OneProcess(led_registry)


def test_the_stream_predicts_what_a_batch_over_the_same_bars_of_leaders_predicts(
    stream: OneProcess, market_with_a_gap: Bars, led_registry: RegistrySettings
) -> None:
    btc, ltc, eth, xrp = (market_with_a_gap[symbol] for symbol in SYMBOLS)
    stream.publish([*eth[:150], *btc[:100][::-1]])  # a follower ahead, a leader out of order
    stream.publish([*ltc[:100], *ltc[90:100], *xrp[:30]])  # bars that come twice
    stream.publish([*btc[100:], *xrp[30:120]])  # a leader ahead
    stream.publish(ltc[100:])
    stream.publish([*xrp[121:170], *eth[150:]])
    stream.publish(xrp[120:121])  # late
    stream.publish(xrp[170:])
    found = stream.predictions()
    assert set(found["model_version"]) == {"1m-1", "1m-2"}
    assert_as_expected(found, expected(market_with_a_gap, MARKET, led_registry))


def test_a_leaders_revised_bar_counts_as_in_a_batch_that_knows_it_from_then_on(
    stream: OneProcess, market_bars: Bars, led_registry: RegistrySettings
) -> None:
    btc = market_bars["BTC-USD"]
    for number in range(4):
        part = slice(number * 50, (number + 1) * 50)
        stream.publish(bar for symbol in SYMBOLS for bar in market_bars[symbol][part])
    before = stream.predictions()
    revised = replace(btc[180], close=btc[180].high, fetched_at=btc[180].fetched_at + 1)
    stream.publish([revised])
    assert_as_expected(before, expected(market_bars, MARKET, led_registry))
    assert len(stream.predictions()) == len(before)


def test_a_dead_leader_delays_nobody_beyond_the_wait_and_coming_back_changes_nothing(
    stream: OneProcess, market_bars: Bars, led_registry: RegistrySettings
) -> None:
    btc, ltc, eth, _ = (market_bars[symbol] for symbol in SYMBOLS)
    stream.publish([*btc[:150], *ltc[:100], *eth[:120]])
    assert stream.counts[WAITS] == 50 + 20
    stream.wake()
    assert stream.counts == {RAN_OUT: 70, WITHOUT: 70}
    there = {"BTC-USD": btc[:150], "LTC-USD": ltc[:100], "ETH-USD": eth[:120]}
    assert_as_expected(stream.predictions(), expected(there, MARKET, led_registry))
    stream.publish(ltc[100:150])
    again = stream.predictions()[: 3 * (90 + 40 + 60)]
    assert_as_expected(again, expected(there, MARKET, led_registry))
    assert stream.rejected == 0


def test_a_leader_that_comes_in_time_ends_the_wait(stream: OneProcess, market_bars: Bars) -> None:
    btc, ltc, eth, _ = (market_bars[symbol] for symbol in SYMBOLS)
    stream.publish([*btc[:100], *ltc[:99], *eth[:100]])
    assert stream.counts[WAITS] == 2
    stream.publish(ltc[99:100])
    assert stream.counts == {CAME: 2}
    assert stream.predictions()["model_version"].eq("1m-2").all()


def test_every_shard_gets_the_leaders_bars_and_the_wake_ups_and_nobody_else_does(
    market_bars: Bars,
) -> None:
    sent = [market_bars[symbol][0].to_json() for symbol in ("BTC-USD", "ETH-USD")]
    batch = messages([*sent, wake_message(7, 3)], [4, 4, 4], [10, 11, 12], [SENT_MS] * 3)
    with_leaders = list(packed_by_shard(batch, KEYS, NOW_MS, 0, MARKET.names))
    copies = {key: from_bytes(value) for key, value, kind in with_leaders if kind == COPIES}
    wakes = {key: from_bytes(value) for key, value, kind in with_leaders if kind == WAKE_UPS}
    assert set(copies) == set(wakes) == set(KEYS)
    assert {table["symbol"].to_pylist()[0] for table in copies.values()} == {"BTC-USD"}
    assert {table["partition"].to_pylist()[0] for table in copies.values()} == {4}
    wake: dict[str, Any] = {"partition": 4, "offset": 12, "until": 7, "partitions": 3}
    assert [table.to_pylist() for table in wakes.values()] == [[wake]] * 2
    without = packed_by_shard(batch, KEYS, NOW_MS, 0)
    assert [kind for *_, kind in without] == ["bars"] * len({key for key, *_ in with_leaders[4:]})


def test_a_stream_without_leaders_passes_over_wake_ups_also_where_nothing_else_is_read() -> None:
    batch = messages([wake_message(7, 3)], [0], [12], [SENT_MS])
    assert contents(packed_by_shard(batch, KEYS, NOW_MS, 0)).num_rows == 0


@pytest.mark.parametrize("news_until", [0, START + 200 * MINUTE])
def test_windows_with_and_without_news_and_leaders_go_apart(
    stream: OneProcess, market_bars: Bars, monkeypatch: pytest.MonkeyPatch, news_until: int
) -> None:
    known = NewsOfShard.empty(silent_ms=0)
    known.listed_until = news_until
    seen: set[tuple[str, Layout]] = set()
    emission_rows = operator_rows.emission_rows

    def with_news(advance: Any, lookback: int, news: None) -> list[Any]:
        rows = list(emission_rows(advance, lookback, known))
        for kind, _, _, packed, raw in rows:
            if raw is not None:
                n_columns = width_of(from_bytes(packed))
                layout = Layout.of(np.empty((0, n_columns)))
                assert len(raw) % (8 * n_columns) == 0
                seen.add((kind, layout))
        return [row for row in rows if row[0] == WAITED]

    monkeypatch.setattr(operator_rows, "emission_rows", with_news)
    hole = market_bars["LTC-USD"][:70] + market_bars["LTC-USD"][71:]
    stream.publish([*market_bars["BTC-USD"], *hole, *market_bars["ETH-USD"]])
    kind = "with_news" if news_until else "windows"
    news = bool(news_until)
    assert seen == {(kind, Layout(news, 2)), (kind, Layout(news, 0))}
    assert Layout(True, 2).columns == 3 * BAR_COLUMNS + len(NEWS_COLUMNS)
