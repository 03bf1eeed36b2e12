"""The stream's reading of messages: the same rules as the producer's, evaluated by Spark."""

import json
import time
from dataclasses import replace

import pytest
from pyspark.sql import SparkSession

from ingest.bar import QUOTE_VOLUME_RULE, RULES, Bar
from jobs.read_bars import KEPT_BYTES, read_messages

GOOD = Bar(
    symbol="BTC-USD",
    interval="1m",
    open_time=1_514_219_880_000,
    open=10.0,
    high=12.0,
    low=9.0,
    close=11.0,
    base_volume=1.5,
    quote_volume=16.0,
    source="example",
    fetched_at=1_514_219_945_000,
)
FUTURE = (time.time_ns() // 60_000_000_000 + 60) * 60_000

BARS = [
    GOOD,
    replace(GOOD, quote_volume=None),
    replace(GOOD, base_volume=0.0, quote_volume=0.0),
    replace(GOOD, symbol="1000PEPE-USDT"),
    replace(GOOD, symbol="币安人生-USDT"),
    replace(GOOD, symbol="BTCUSD"),
    replace(GOOD, symbol="A-B-C"),
    replace(GOOD, symbol="A-\x01"),
    replace(GOOD, interval="2m"),
    replace(GOOD, interval="1h"),
    replace(GOOD, open=0.0),
    replace(GOOD, high=0.0),
    replace(GOOD, low=0.0),
    replace(GOOD, close=0.0),
    replace(GOOD, high=9.5),
    replace(GOOD, open=12.0, low=11.5),
    replace(GOOD, low=11.5),
    replace(GOOD, close=12.5),
    replace(GOOD, low=10.5),
    replace(GOOD, base_volume=-1.0),
    replace(GOOD, quote_volume=-1.0),
    replace(GOOD, open_time=GOOD.open_time + 1),
    replace(GOOD, open_time=-60_000),
    replace(GOOD, open_time=FUTURE),
    replace(GOOD, open_time=(2**63 - 1) // 60_000 * 60_000),
    replace(GOOD, fetched_at=-1),
    replace(GOOD, fetched_at=FUTURE),
    replace(GOOD, fetched_at=2**63 - 1),
    replace(GOOD, symbol="BTC-USD\n"),
]


def reasons(spark: SparkSession, *messages: bytes | None) -> list[str | None]:
    rows = [(i, bytearray(m) if m is not None else None, "bars", 0) for i, m in enumerate(messages)]
    frame = spark.createDataFrame(rows, "offset long, value binary, topic string, partition int")
    read = read_messages(frame, shards=4).collect()
    return [row["reason"] for row in sorted(read, key=lambda row: row["offset"])]


def test_stream_and_producer_agree_on_every_rule(spark: SparkSession) -> None:
    now_ms = time.time_ns() // 1_000_000
    found = reasons(spark, *[bar.to_json() for bar in BARS])
    assert found == [bar.violation(now_ms) for bar in BARS]
    every_rule = {reason for reason, _ in (*RULES, QUOTE_VOLUME_RULE)}
    assert every_rule - set(found) == set()


@pytest.mark.parametrize("field", sorted(set(json.loads(GOOD.to_json()))))
def test_a_missing_field_is_named(spark: SparkSession, field: str) -> None:
    fields = json.loads(GOOD.to_json())
    del fields[field]
    (reason,) = reasons(spark, json.dumps(fields).encode())
    assert reason is not None
    assert reason.startswith(f"{field} is missing")


def test_what_is_no_json_object_is_rejected(spark: SparkSession) -> None:
    messages = [b"hello", b"[1, 2]", b"42", b"", b"\xff\xfe", b"{}", b'{"v": 1', b"null", None]
    assert all(reasons(spark, *messages))


def test_values_of_another_type_are_rejected(spark: SparkSession) -> None:
    text = GOOD.to_json().decode()
    messages = [
        text.replace('"open":10.0', '"open":"10.0"'),
        text.replace('"open":10.0', '"open":NaN'),
        text.replace('"open":10.0', '"open":1e999'),
        text.replace('"open":10.0', '"open":null'),
        text.replace('"open":10.0', '"open":[10.0]'),
        text.replace('"open_time":1514219880000', '"open_time":1514219880000.5'),
        text.replace('"open_time":1514219880000', '"open_time":99999999999999999999'),
        text.replace('"quote_volume":16.0', '"quote_volume":"16"'),
        text + " and more",
    ]
    found = reasons(spark, *[message.encode() for message in messages])
    assert [i for i, reason in enumerate(found) if reason is None] == []


def test_only_the_beginning_of_a_huge_rejected_message_is_kept(spark: SparkSession) -> None:
    rows = [(0, bytearray(b"x" * 200_000), "bars", 0)]
    frame = spark.createDataFrame(rows, "offset long, value binary, topic string, partition int")
    (row,) = read_messages(frame, shards=4).collect()
    assert len(row["payload"]) == KEPT_BYTES
