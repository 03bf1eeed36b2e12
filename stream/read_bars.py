"""From Kafka messages to checked bars; a rejected message keeps its reason and its place.

Python parses the JSON, and looks at whole columns of an Arrow batch from there on: a good batch
costs a few steps for each field, not for each bar. Only a message that is no bar is looked at by
itself, for the reason. Whether the values make sense, `ingest.bar.RULES` says.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from types import SimpleNamespace
from typing import Any, Final
from zlib import crc32

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from conf.symbol import symbol_problem
from conf.timeframes import TIMEFRAME_MS
from ingest.bar import (
    ADDED_IN_2,
    CLOCK_SKEW_MS,
    FIELD_TYPES,
    INT64,
    MESSAGE_BYTES,
    MESSAGE_TYPES,
    NOT_JSON,
    OPTIONAL_RULES,
    RULES,
    VERSIONS,
    why_not_read,
)
from ingest.wake import read_wake
from spark.arrow import map_in_arrow
from stream.contents import (
    BARS,
    CONTENTS,
    KEPT_BYTES,
    LEADERS,
    REJECTED,
    REJECTED_SCHEMA,
    WAKE_UPS,
    contents,
)
from stream.packed import to_bytes
from stream.state.change import CHANGE_COLUMNS, WakeUp

_COLUMNS: Final = {
    name: pa.string() if str in kinds else pa.float64() if float in kinds else pa.int64()
    for name, kinds in FIELD_TYPES.items()
}
_in_order = itemgetter(*MESSAGE_TYPES)
_in_order_of_1 = itemgetter("v", *VERSIONS[1])
_UNKNOWN: Final = (None,) * len(ADDED_IN_2)


# Why messages are no bars, by their rows.
Reasons = Mapping[int, str]


def read_messages(
    messages: DataFrame, shard_keys: Sequence[int], earliest_ms: int, leaders: Collection[str] = ()
) -> DataFrame:
    """Checked bars and rejected messages of Kafka's `messages`, packed by shard: `CONTENTS`.

    A shard is one of `shard_keys`; no bar opens before `earliest_ms` (epoch ms). A bar's columns:
    its fields, the message's offset, and when it arrived (`arrived_at`, epoch ms; a producer's
    clock that goes ahead counts as ours). Copies of the bars of `leaders` go to every shard, with
    the message's partition, and so do wake-ups: any series may read any leader.
    """

    def packed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if len(batch):
                now_ms = time.time_ns() // 1_000_000
                yield contents(packed_by_shard(batch, shard_keys, now_ms, earliest_ms, leaders))

    columns = messages.select(
        # One byte more than is kept, so that a longer message shows.
        F.substring("value", 1, KEPT_BYTES + 1).alias("value"),
        "topic",
        "partition",
        "offset",
        F.unix_millis("timestamp").alias("arrived_at"),
    )
    return map_in_arrow(columns, packed, CONTENTS)


def packed_by_shard(
    messages: pa.RecordBatch,
    shard_keys: Sequence[int],
    now_ms: int,
    earliest_ms: int,
    leaders: Collection[str] = (),
) -> Iterator[tuple[int, bytes, str]]:
    """Rows of `CONTENTS`: the bars of each shard, in one shard all rejected messages, and in every
    shard what is about leaders."""
    bars, reasons = checked(messages, now_ms, earliest_ms)
    reasons, wake_ups = without_wake_ups(messages, reasons, now_ms)
    if leaders:
        copies = copies_of(leaders, bars, messages)
        for content, table in ((LEADERS, copies), (WAKE_UPS, wake_ups)):
            if len(table):
                packed = to_bytes(table)
                yield from ((key, packed, content) for key in shard_keys)
    bars = bars.drop_columns("row")
    names = bars["symbol"].combine_chunks().dictionary_encode()
    # Python's own hash of a text is another in each process.
    shard_of = [crc32(name.encode()) % len(shard_keys) for name in names.dictionary.to_pylist()]
    shard = np.array(shard_of, np.int64)[names.indices.to_numpy()]
    for number in np.unique(shard):
        of_shard = bars.filter(pa.array(shard == number))
        yield shard_keys[number], to_bytes(of_shard), BARS
    if reasons:
        home = shard_keys[messages["partition"][0].as_py() % len(shard_keys)]
        yield home, to_bytes(rejected(messages, reasons)), REJECTED


def copies_of(leaders: Collection[str], bars: pa.Table, messages: pa.RecordBatch) -> pa.Table:
    """What windows need of the leaders' bars, with the partition of their messages."""
    chosen = bars.filter(pc.is_in(bars["symbol"], pa.array(leaders, pa.string())))
    partition = messages["partition"].take(chosen["row"])
    return chosen.select(CHANGE_COLUMNS).append_column("partition", partition)


def without_wake_ups(
    messages: pa.RecordBatch, reasons: Reasons, now_ms: int
) -> tuple[Reasons, pa.Table]:
    """The reasons of messages that are rejected, and of the others the wake-ups: `WakeUp`.

    One of the future counts as of now: it would end the waits of what is still to come.
    """
    values = messages["value"]
    found = {row: wake for row in reasons if (wake := read_wake(values[row].as_py())) is not None}
    place = messages.select(["partition", "offset"]).take(pa.array(found, pa.int64()))
    until, partitions = zip(*found.values(), strict=True) if found else ((), ())
    latest = now_ms + CLOCK_SKEW_MS
    columns = [*place.columns, pa.array([min(one, latest) for one in until], pa.int64())]
    wake_ups = pa.table([*columns, pa.array(partitions, pa.int64())], list(WakeUp._fields))
    return {row: reason for row, reason in reasons.items() if row not in found}, wake_ups


def rejected(messages: pa.RecordBatch, reasons: Reasons) -> pa.Table:
    """`REJECTED_SCHEMA` for the messages that have a reason."""
    rows = sorted(reasons)
    found = messages.take(pa.array(rows))
    payload = pc.binary_slice(found["value"], 0, KEPT_BYTES)
    place = {name: found[name] for name in ("topic", "partition", "offset")}
    columns = {"reason": [reasons[row] for row in rows], **place, "payload": payload}
    return pa.table(columns).cast(REJECTED_SCHEMA)


def checked(messages: pa.RecordBatch, now_ms: int, earliest_ms: int) -> tuple[pa.Table, Reasons]:
    """The good bars of `messages`, with their `row` there, and the reasons of the others.

    now_ms, earliest_ms: epoch ms, between which the rules want a bar's times.
    """
    rows, reasons = parsed(messages["value"].to_pylist())
    places = _without(len(messages), reasons)
    _, *columns = zip(*rows, strict=True) if rows else [()] * len(MESSAGE_TYPES)
    bars = pa.table(dict(zip(_COLUMNS, map(_column, _COLUMNS.values(), columns), strict=True)))
    message = messages.take(pa.array(places))
    bars = bars.append_column("offset", message["offset"])
    arrived_at = pc.min_element_wise(message["arrived_at"], now_ms)
    bars = bars.append_column("arrived_at", arrived_at)
    bars = bars.append_column("row", pa.array(places))
    against_rules = rejected_by_rules(bars, now_ms, earliest_ms)
    if against_rules:
        reasons |= {int(places[row]): reason for row, reason in against_rules.items()}
        bars = bars.take(pa.array(_without(len(bars), against_rules)))
    return bars, reasons


def _without(count: int, rows: Iterable[int]) -> NDArray[np.int64]:
    """The rows from 0 to `count` that are not among `rows`."""
    return np.delete(np.arange(count), np.fromiter(rows, np.int64))


def _column(kind: pa.DataType, values: Sequence[Any]) -> pa.Array:
    if kind == pa.float64():
        # NumPy also takes the whole numbers that are too large for 64 bits.
        return pa.array(np.array(values, np.float64), from_pandas=True)
    return pa.array(values, kind)


def parsed(values: Sequence[bytes | None]) -> tuple[list[tuple[Any, ...]], dict[int, str]]:
    """The fields of each message that may be a bar, as in `MESSAGE_TYPES`; why others may not."""
    reasons: dict[int, str] = {}
    rows: list[tuple[Any, ...]] = []
    for at, value in enumerate(values):
        try:
            if value is None or len(value) > MESSAGE_BYTES:
                raise TypeError
            rows.append(_row(orjson.loads(value)))
        except (orjson.JSONDecodeError, KeyError, TypeError):
            reasons[at] = why_not_read(value) or NOT_JSON
    if well_formed(rows):
        return rows, reasons
    # Some of these rows have another shape: each by itself, then.
    places = _without(len(values), reasons).tolist()
    found = [why_not_read(values[at]) for at in places]
    reasons |= {at: reason for at, reason in zip(places, found, strict=True) if reason}
    return [row for row, reason in zip(rows, found, strict=True) if not reason], reasons


def _row(message: Any) -> tuple[Any, ...]:
    """A message's fields as they stand; version 1 knows nothing of what was added behind it."""
    if message["v"] == 1:
        return (*_in_order_of_1(message), *_UNKNOWN)
    return tuple(_in_order(message))


def well_formed(rows: Sequence[tuple[Any, ...]]) -> bool:
    """Whether all rows hold what a bar's fields may hold."""
    columns = dict(zip(MESSAGE_TYPES, zip(*rows, strict=True), strict=True)) if rows else {}
    return all(
        set(map(type, values)).issubset(MESSAGE_TYPES[name]) and _in_range(name, values)
        for name, values in columns.items()
    ) and not (
        set(columns.get("v", ())) - VERSIONS.keys()
        or set(columns.get("interval", ())) - TIMEFRAME_MS.keys()
        or any(map(symbol_problem, set(columns.get("symbol", ()))))
    )


def _in_range(name: str, values: Sequence[Any]) -> bool:
    """Whether whole numbers, of their types, fit into 64 bits."""
    kinds = MESSAGE_TYPES[name]
    if int not in kinds or float in kinds:
        return True
    known = [value for value in values if value is not None]
    return not known or (min(known) in INT64 and max(known) in INT64)


def rejected_by_rules(bars: pa.Table, now_ms: int, earliest_ms: int) -> Reasons:
    """The first rule that a bar does not keep, by row."""
    numbers = [name for name, kind in _COLUMNS.items() if kind != pa.string()]
    columns = {name: bars[name].to_numpy() for name in numbers}
    timeframe = bars["interval"].combine_chunks().dictionary_encode()
    lengths = np.array([TIMEFRAME_MS[name] for name in timeframe.dictionary.to_pylist()], np.int64)
    times = {"now_ms": now_ms, "earliest_ms": earliest_ms}
    bar = SimpleNamespace(**columns, bar_ms=lengths[timeframe.indices.to_numpy()], **times)
    found: dict[int, str] = {}
    kept = [(reason, holds(bar)) for reason, holds in RULES]
    for name, (reason, holds) in OPTIONAL_RULES.items():
        kept.append((reason, holds(bar) | np.isnan(columns[name])))
    for reason, rows in kept:
        for row in np.flatnonzero(~rows).tolist():
            found.setdefault(row, reason)
    return found
