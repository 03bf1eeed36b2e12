"""The stream's reading of messages: the same rules as the producer's, on whole columns."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from ingest.bar import QUOTE_VOLUME_RULE, RULES, Bar
from stream.contents import KEPT_BYTES
from stream.packed import from_bytes
from stream.read_bars import NOT_JSON, read_messages

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


def as_from_kafka(spark: SparkSession, values: Sequence[bytes | None]) -> DataFrame:
    rows = [
        (i, None if value is None else bytearray(value), "bars", 0, datetime(2024, 12, 1))
        for i, value in enumerate(values)
    ]
    return spark.createDataFrame(
        rows, "offset long, value binary, topic string, partition int, timestamp timestamp"
    )


def read_rows(spark: SparkSession, values: Sequence[bytes | None]) -> list[dict[str, Any]]:
    packed = read_messages(as_from_kafka(spark, values), shard_keys=[0, 1, 2, 3]).collect()
    return [row for blob in packed for row in from_bytes(bytes(blob["packed"])).to_pylist()]


def reasons(spark: SparkSession, *messages: bytes | None) -> list[str | None]:
    read = read_rows(spark, messages)
    # A good bar has a symbol and no reason.
    return [row.get("reason") for row in sorted(read, key=lambda row: row["offset"])]


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
        text + text,
    ]
    found = reasons(spark, *[message.encode() for message in messages])
    assert [i for i, reason in enumerate(found) if reason is None] == []


def test_one_bad_message_among_good_ones_is_told_apart(spark: SparkSession) -> None:
    good = [replace(GOOD, symbol=f"S{i}-USD").to_json() for i in range(50)]
    messages = [*good[:20], good[0].replace(b'"v":1', b'"v":2'), *good[20:], b"no", good[1][:-1]]
    found = reasons(spark, *messages)
    bad = {at: reason for at, reason in enumerate(found) if reason}
    assert bad == {20: "v must be 1, found 2", 51: NOT_JSON, 52: NOT_JSON}


def test_a_message_longer_than_what_is_kept_is_rejected_though_it_begins_as_a_bar(
    spark: SparkSession,
) -> None:
    (reason,) = reasons(spark, GOOD.to_json() + b" " * KEPT_BYTES)
    assert reason == f"the message is longer than {KEPT_BYTES} bytes"


def test_only_the_beginning_of_a_huge_rejected_message_is_kept(spark: SparkSession) -> None:
    (row,) = read_rows(spark, [b"x" * 200_000])
    assert len(row["payload"]) == KEPT_BYTES
