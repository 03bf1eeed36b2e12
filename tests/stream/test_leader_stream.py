"""Leaders in the running stream; test_leader_rows.py has the same without Spark, and more of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from conf.errors import ConfigurationError
from conf.sections import Market
from conf.sections import Registry as RegistrySettings
from ingest.wake import read_wake
from jobs.machine.broker import EmbeddedBroker
from jobs.machine.processes import wait_until
from stream.query import start_query
from tests.leaders import LEADERS, SYMBOLS, Bars, assert_as_expected, expected
from tests.predictions import assert_same_predictions, batch_predictions
from tests.streams import RunningStream, stream_settings

# No test lasts so long: where nothing ends a wait, nothing does.
PATIENT = Market(leaders=LEADERS, wait_s=3_600)
QUICK = Market(leaders=LEADERS, wait_s=0.5)
# A busy machine may take its time, as long as the query has not failed.
HANGS_S: Final = 600


@pytest.fixture
def stream(
    spark: SparkSession,
    broker: EmbeddedBroker,
    topic_prefix: str,
    tmp_path: Path,
    led_registry: RegistrySettings,
) -> Iterator[RunningStream]:
    settings = stream_settings(broker, topic_prefix, tmp_path, led_registry)
    running = RunningStream(spark, settings.model_copy(update={"market": PATIENT}))
    yield running
    running.stop()


def with_market(stream: RunningStream, market: Market) -> RunningStream:
    stream.settings = stream.settings.model_copy(update={"market": market})
    return stream


def in_every_partition(stream: RunningStream) -> bool:
    """Whether each partition of the topic has the wake-up that ends the waits."""
    found = map(read_wake, stream.topic(stream.settings.kafka.bars_topic))
    ends_waits = [wake for wake in found if wake is not None and wake[0] > 0]
    return bool(ends_waits) and len(ends_waits) >= ends_waits[0][1]


def test_the_stream_predicts_what_a_batch_over_the_same_bars_of_leaders_predicts(
    stream: RunningStream, market_with_a_gap: Bars, led_registry: RegistrySettings
) -> None:
    btc, ltc, eth, xrp = (market_with_a_gap[symbol] for symbol in SYMBOLS)
    stream.publish([*eth[:150], *btc[:100][::-1], *xrp[:170]])  # followers ahead
    stream.publish([*ltc, *ltc[90:100], *btc[100:]])  # leaders ahead, and bars that come twice
    stream.publish([*eth[150:], *xrp[170:]])
    found = stream.table("predictions")
    assert set(found["model_version"]) == {"1m-1", "1m-2"}
    assert_as_expected(found, expected(market_with_a_gap, PATIENT, led_registry))
    assert len(stream.table("bars")) == sum(map(len, market_with_a_gap.values())) + 10
    assert stream.topic(stream.settings.kafka.rejected_topic) == []


def test_what_waits_when_the_program_ends_is_predicted_once_it_runs_again_and_has_waited(
    stream: RunningStream, market_bars: Bars, led_registry: RegistrySettings
) -> None:
    btc, ltc, eth, _ = (market_bars[symbol] for symbol in SYMBOLS)
    stream.publish([*btc[:100], *ltc[:100], *eth[:110]])
    newest = pd.Timestamp(eth[99].close_time, unit="ms", tz="UTC")
    assert stream.table("predictions")["as_of"].max() == newest
    stream.stop()
    stream.queries.clear()
    with_market(stream, QUICK).process()
    there = {"BTC-USD": btc[:100], "LTC-USD": ltc[:100], "ETH-USD": eth[:110]}
    assert wait_until(lambda: in_every_partition(stream), HANGS_S, stream.process)
    stream.process()
    assert_as_expected(stream.table("predictions"), expected(there, QUICK, led_registry))
    assert stream.topic(stream.settings.kafka.rejected_topic) == []
    assert len(stream.table("bars")) == 310


def test_nobody_waits_while_the_champion_reads_no_leaders(
    stream: RunningStream, market_bars: Bars, champion_registry: RegistrySettings
) -> None:
    own = champion_registry
    stream.settings = stream.settings.model_copy(update={"registry": own})
    stream.publish(market_bars["ETH-USD"][:100])
    assert_same_predictions(
        stream.table("predictions"), batch_predictions(market_bars["ETH-USD"][:100], own, "1m-1")
    )


def test_leaders_cannot_be_changed_within_a_checkpoint(
    stream: RunningStream, market_bars: Bars
) -> None:
    stream.publish(market_bars["BTC-USD"][:1])
    stream.stop()
    for market in (Market(), Market(leaders=LEADERS[:1])):
        with pytest.raises(ConfigurationError, match="market"):
            start_query(stream.spark, with_market(stream, market).settings)
