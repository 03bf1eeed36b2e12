"""Leaders in the stream: what a batch over the same bars says, and no waiting beyond the wait."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from conf.errors import ConfigurationError
from conf.settings import Market
from conf.settings import Registry as RegistrySettings
from ingest.bar import Bar
from ingest.sources.recorded import read_bars
from ingest.wake import read_wake
from jobs.machine.broker import EmbeddedBroker
from jobs.machine.processes import wait_until
from stream.query import start_query
from tests.artifacts import random_champion
from tests.predictions import (
    IDENTITY,
    assert_same_predictions,
    batch_predictions,
    batch_predictions_with,
)
from tests.streams import RunningStream, stream_settings

MINUTE = 60_000
START = 1_514_220_000_000
LEADERS = ["BTC-USD", "LTC-USD"]
SYMBOLS = [*LEADERS, "ETH-USD", "XRP-USD"]
# No test lasts so long: where nothing ends a wait, nothing does.
PATIENT = Market(leaders=LEADERS, wait_s=3_600)
QUICK = Market(leaders=LEADERS, wait_s=0.5)

Market_ = dict[str, list[Bar]]


@pytest.fixture(scope="module")
def bars(data_dir: Path) -> Market_:
    """200 minutes of each symbol, the same ones: recorded prices at other times."""
    found: Market_ = {}
    for number, symbol in enumerate(SYMBOLS):
        of = ("btcusd", "ethusd")[number % 2]
        file = data_dir / f"{of}_cryptocompare_cccagg_1m_2017-12.csv.gz"
        recorded = list(read_bars(file, symbol, "1m"))[200 * number : 200 * (number + 1)]
        times = [START + minute * MINUTE for minute in range(200)]
        found[symbol] = [
            replace(bar, open_time=time, fetched_at=time + MINUTE)
            for bar, time in zip(recorded, times, strict=True)
        ]
    return found


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> RegistrySettings:
    """1m-2 is champion and reads leaders; 1m-1 was before it and reads none."""
    return random_champion(tmp_path_factory.mktemp("registry"), PATIENT, SYMBOLS)


@pytest.fixture
def stream(
    spark: SparkSession,
    broker: EmbeddedBroker,
    topic_prefix: str,
    tmp_path: Path,
    registry: RegistrySettings,
) -> Iterator[RunningStream]:
    settings = stream_settings(broker, topic_prefix, tmp_path, registry)
    running = RunningStream(spark, settings.model_copy(update={"market": PATIENT}))
    yield running
    running.stop()


def quick(stream: RunningStream) -> RunningStream:
    """The same stream with a short wait."""
    stream.settings = stream.settings.model_copy(update={"market": QUICK})
    return stream


def expected(bars: Market_, registry: RegistrySettings) -> pd.DataFrame:
    """By the champion where its leaders are there, else by the one that needs none."""
    every = [bar for of_symbol in bars.values() for bar in of_symbol]
    return batch_predictions_with(PATIENT, every, registry).drop_duplicates(IDENTITY)


def assert_as_expected(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    assert_same_predictions(found, wanted)
    by = [*IDENTITY, "model_version"]
    found, wanted = (one.sort_values(IDENTITY)[by].astype(str) for one in (found, wanted))
    assert found.to_numpy().tolist() == wanted.to_numpy().tolist()


def test_the_stream_predicts_what_a_batch_over_the_same_bars_of_leaders_predicts(
    stream: RunningStream, bars: Market_, registry: RegistrySettings
) -> None:
    missing = {**bars, "LTC-USD": bars["LTC-USD"][:70] + bars["LTC-USD"][71:]}
    btc, ltc, eth, xrp = (missing[symbol] for symbol in SYMBOLS)
    stream.publish([*eth[:150], *btc[:100][::-1]])  # a follower ahead, a leader out of order
    stream.publish([*ltc[:100], *ltc[90:100], *xrp[:30]])  # bars that come twice
    stream.publish([*btc[100:], *xrp[30:120]])  # a leader ahead
    stream.publish(ltc[100:])
    stream.publish([*xrp[121:170], *eth[150:]])
    stream.publish(xrp[120:121])  # late
    stream.publish(xrp[170:])
    found = stream.table("predictions")
    assert set(found["model_version"]) == {"1m-1", "1m-2"}
    assert_as_expected(found, expected(missing, registry))
    assert len(stream.table("bars")) == sum(map(len, missing.values())) + 10
    assert stream.topic(stream.settings.kafka.rejected_topic) == []


def test_a_dead_leader_delays_nobody_beyond_the_wait_and_the_row_says_which_model(
    stream: RunningStream, bars: Market_, registry: RegistrySettings
) -> None:
    btc, ltc, eth, _ = (bars[symbol] for symbol in SYMBOLS)
    quick(stream).publish([*btc[:150], *ltc[:100]])
    stream.publish(eth[:120])
    wanted = expected({"BTC-USD": btc[:150], "LTC-USD": ltc[:100], "ETH-USD": eth[:120]}, registry)
    assert wait_until(lambda: len(stream.table("predictions")) == len(wanted), 60)
    before = stream.table("predictions")
    assert_as_expected(before, wanted)

    stream.publish(ltc[100:150])  # it comes back: what was predicted stays
    made = before[IDENTITY].astype(str).agg(" ".join, axis=1)
    after = stream.table("predictions")
    again = after[after[IDENTITY].astype(str).agg(" ".join, axis=1).isin(set(made))]
    assert_as_expected(again, wanted)
    assert stream.topic(stream.settings.kafka.rejected_topic) == []
    on_topic = [read_wake(message) for message in stream.topic(stream.settings.kafka.bars_topic)]
    assert any(on_topic)


def test_what_waits_when_the_program_ends_is_predicted_after_it_starts_again(
    stream: RunningStream, bars: Market_, registry: RegistrySettings
) -> None:
    btc, ltc, eth, _ = (bars[symbol] for symbol in SYMBOLS)
    stream.publish([*btc[:100], *ltc[:100], *eth[:110]])
    assert stream.table("predictions")["as_of"].max() == as_of(eth[99])
    stream.stop()
    stream.queries.clear()
    quick(stream).process()
    wanted = expected({"BTC-USD": btc[:100], "LTC-USD": ltc[:100], "ETH-USD": eth[:110]}, registry)
    assert wait_until(lambda: len(stream.table("predictions")) == len(wanted), 60)
    assert_as_expected(stream.table("predictions"), wanted)


def as_of(bar: Bar) -> pd.Timestamp:
    return pd.Timestamp(bar.open_time + MINUTE, unit="ms", tz="UTC")


def test_nobody_waits_while_the_champion_reads_no_leaders(
    stream: RunningStream, bars: Market_, tmp_path: Path
) -> None:
    own = random_champion(tmp_path)
    stream.settings = stream.settings.model_copy(update={"registry": own})
    stream.publish(bars["ETH-USD"])
    assert_same_predictions(
        stream.table("predictions"), batch_predictions(bars["ETH-USD"], own, "1m-1")
    )


def test_leaders_cannot_be_changed_within_a_checkpoint_but_the_wait_can(
    stream: RunningStream, bars: Market_
) -> None:
    stream.publish(bars["BTC-USD"][:1])
    stream.stop()
    for market in (Market(), Market(leaders=LEADERS[:1])):
        changed = stream.settings.model_copy(update={"market": market})
        with pytest.raises(ConfigurationError, match="market"):
            start_query(stream.spark, changed)
    stream.queries = [start_query(stream.spark, quick(stream).settings)]


def test_the_log_line_and_the_counts_say_what_waits(
    stream: RunningStream, bars: Market_, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        stream.publish([*bars["BTC-USD"][:80], *bars["LTC-USD"][:70], *bars["ETH-USD"][:80]])
    lines = [r.getMessage() for r in caplog.records if "micro_batch" in r.getMessage()]
    assert any("waiting=20" in line for line in lines), json.dumps(lines)
