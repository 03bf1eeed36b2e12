"""The stream's reading of messages: the same rules as the producer's, on whole columns."""

import json
from dataclasses import replace

import pyarrow as pa
import pytest

from ingest.bar import ADDED_IN_2, NOT_JSON, OPTIONAL_RULES, RULES, Bar
from stream.contents import BARS as BARS_CONTENT
from stream.contents import KEPT_BYTES, REJECTED
from stream.packed import from_bytes
from stream.read_bars import checked, packed_by_shard, rejected

NOW_MS = 1_764_000_000_000
EARLIEST_MS = 1_230_940_800_000
COLUMNS = ["value", "topic", "partition", "offset", "arrived_at"]

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
FUTURE = (NOW_MS // 60_000 + 60) * 60_000

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
    replace(GOOD, open=1e308, high=1e308, low=1e308, close=1e308),
    replace(GOOD, open=5e-324, high=5e-324, low=5e-324, close=5e-324),
    replace(GOOD, open=1e30, high=1e30, low=1e-30, close=1e-30),
    replace(GOOD, base_volume=1e308, quote_volume=1.7e308),
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
    replace(GOOD, trades=0),
    replace(GOOD, trades=7, taker_base_volume=0.5, taker_quote_volume=5.0),
    replace(GOOD, trades=-1),
    replace(GOOD, taker_base_volume=-1.0),
    replace(GOOD, taker_quote_volume=-1.0),
    replace(GOOD, open_time=GOOD.open_time + 1),
    replace(GOOD, open_time=-60_000),
    replace(GOOD, open_time=0),
    replace(GOOD, open_time=EARLIEST_MS - 60_000),
    replace(GOOD, open_time=EARLIEST_MS),
    replace(GOOD, open_time=FUTURE),
    replace(GOOD, open_time=(2**63 - 1) // 60_000 * 60_000),
    replace(GOOD, fetched_at=-1),
    replace(GOOD, fetched_at=FUTURE),
    replace(GOOD, fetched_at=2**63 - 1),
    replace(GOOD, symbol="BTC-USD\n"),
]


def messages(*values: bytes | None) -> pa.RecordBatch:
    """Kafka's messages of one partition, as they reach a worker."""
    count = len(values)
    columns = [values, ["bars"] * count, [0] * count, range(count), [NOW_MS] * count]
    return pa.record_batch([pa.array(c) for c in columns], COLUMNS)


def reasons(*values: bytes | None) -> list[str | None]:
    """Of each message why it is no bar, or None."""
    bars, found = checked(messages(*values), NOW_MS, EARLIEST_MS)
    assert sorted([*bars["offset"].to_pylist(), *found]) == list(range(len(values)))
    return [found.get(row) for row in range(len(values))]


def test_stream_and_producer_agree_on_every_rule() -> None:
    found = reasons(*[bar.to_json() for bar in BARS])
    assert found == [bar.rejection_reason(NOW_MS, EARLIEST_MS) for bar in BARS]
    every_rule = {reason for reason, _ in (*RULES, *OPTIONAL_RULES.values())}
    assert every_rule - set(found) == set()


def of_version_1(bar: Bar) -> bytes:
    """The message as producers wrote it before there were more fields."""
    fields = json.loads(bar.to_json())
    return json.dumps({n: v for n, v in fields.items() if n not in ADDED_IN_2} | {"v": 1}).encode()


def test_messages_of_both_versions_are_read_side_by_side() -> None:
    full = replace(GOOD, trades=7, taker_base_volume=0.5, taker_quote_volume=5.0)
    old, odd = of_version_1(GOOD), b"no"
    for values in ([full.to_json(), old], [full.to_json(), odd, old]):
        bars, found = checked(messages(*values), NOW_MS, EARLIEST_MS)
        assert [bars[name].to_pylist() for name in ADDED_IN_2] == [
            [7, None],
            [0.5, None],
            [5, None],
        ]
        assert len(found) == len(values) - 2
    assert Bar.from_json(old) == GOOD


@pytest.mark.parametrize("field", sorted(set(json.loads(GOOD.to_json()))))
def test_a_missing_field_is_named(field: str) -> None:
    fields = json.loads(GOOD.to_json())
    del fields[field]
    (reason,) = reasons(json.dumps(fields).encode())
    assert reason is not None
    assert reason.startswith(f"{field} is missing")


def test_what_is_no_json_object_is_rejected() -> None:
    no_objects = [b"hello", b"[1, 2]", b"42", b"", b"\xff\xfe", b"{}", b'{"v": 1', b"null", None]
    assert [reason is not None for reason in reasons(*no_objects)] == [True] * 9


def test_values_of_another_type_are_rejected() -> None:
    text = GOOD.to_json().decode()
    others = [
        text.replace('"open":10.0', '"open":"10.0"'),
        text.replace('"open":10.0', '"open":NaN'),
        text.replace('"open":10.0', '"open":1e999'),
        text.replace('"open":10.0', '"open":null'),
        text.replace('"open":10.0', '"open":[10.0]'),
        text.replace('"open_time":1514219880000', '"open_time":1514219880000.5'),
        text.replace('"open_time":1514219880000', '"open_time":99999999999999999999'),
        text.replace('"quote_volume":16.0', '"quote_volume":"16"'),
        text.replace('"trades":null', '"trades":7.5'),
        text.replace('"trades":null', '"trades":99999999999999999999'),
        text + " and more",
        text + text,
    ]
    found = reasons(*[message.encode() for message in others])
    assert [reason is not None for reason in found] == [True] * 12


def test_one_bad_message_among_good_ones_is_told_apart() -> None:
    good = [replace(GOOD, symbol=f"S{i}-USD").to_json() for i in range(50)]
    mixed = [*good[:20], good[0].replace(b'"v":2', b'"v":3'), *good[20:], b"no", good[1][:-1]]
    found = reasons(*mixed)
    bad = {at: reason for at, reason in enumerate(found) if reason}
    assert bad == {20: "v must be 1 or 2, found 3", 51: NOT_JSON, 52: NOT_JSON}


def test_a_message_longer_than_what_is_kept_is_rejected_though_it_begins_as_a_bar() -> None:
    (reason,) = reasons(GOOD.to_json() + b" " * KEPT_BYTES)
    assert reason == f"the message is longer than {KEPT_BYTES} bytes"


def test_only_the_beginning_of_a_huge_rejected_message_is_kept() -> None:
    huge = messages(b"x" * 200_000)
    (row,) = rejected(huge, {0: NOT_JSON}).to_pylist()
    assert len(row["payload"]) == KEPT_BYTES


def test_a_symbol_has_one_shard_and_all_rejected_messages_another() -> None:
    values = [replace(GOOD, symbol=f"S{i % 3}-USD").to_json() for i in range(9)]
    rows = list(packed_by_shard(messages(*values, b"no"), [7, 5], NOW_MS, EARLIEST_MS))
    bars = [(shard, from_bytes(packed)["symbol"].unique()) for shard, packed, kind in rows[:-1]]
    assert sorted(name for _, names in bars for name in names.to_pylist()) == [
        "S0-USD",
        "S1-USD",
        "S2-USD",
    ]
    assert [kind for *_, kind in rows] == [BARS_CONTENT] * len(bars) + [REJECTED]
    assert from_bytes(rows[-1][1]).to_pylist()[0] == {
        "reason": NOT_JSON,
        "topic": "bars",
        "partition": 0,
        "offset": 9,
        "payload": b"no",
    }
