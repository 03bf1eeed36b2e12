"""From Kafka messages to checked bars; what breaks a rule keeps its reason and its place.

Python parses the JSON, block by block of Arrow, and looks at whole columns from there on: a good
block costs a few steps for each field, not for each bar. Only a message that is no bar is looked
at by itself, for the reason. Whether the values make sense, `ingest.bar.RULES` says.
"""

import itertools
import re
import time
from collections.abc import Iterable, Iterator, Sequence
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

from conf.timeframes import TIMEFRAME_MS
from ingest.bar import BAR_VERSION, FIELD_TYPES, QUOTE_VOLUME_RULE, RULES, SYMBOL_PATTERN
from spark.arrow import map_in_arrow
from stream.contents import BARS, CONTENTS, KEPT_BYTES, REFUSED, REFUSED_SCHEMA, contents
from stream.packed import to_bytes

FIELDS: Final[dict[str, tuple[type, ...]]] = {"v": (int,), **FIELD_TYPES}
_COLUMNS: Final = {
    name: pa.string() if str in kinds else pa.float64() if float in kinds else pa.int64()
    for name, kinds in FIELD_TYPES.items()
}
_INT64: Final = range(-(2**63), 2**63)
_MISSING: Final = object()
NOT_JSON: Final = "not valid JSON"
_in_order = itemgetter(*FIELDS)


def read_messages(messages: DataFrame, shard_keys: Sequence[int]) -> DataFrame:
    """Checked bars and refused messages of Kafka's `messages`, packed by shard: `CONTENTS`.

    A shard is one of `shard_keys`. A bar's columns: its fields, the message's offset, and when it
    came (`arrived_at`, epoch ms; a producer's clock that goes ahead counts as ours).
    """

    def packed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if len(batch):
                yield contents(_by_shard(batch, shard_keys))

    columns = messages.select(
        # One byte more than is kept tells a message that is longer.
        F.substring("value", 1, KEPT_BYTES + 1).alias("value"),
        "topic",
        "partition",
        "offset",
        F.unix_millis("timestamp").alias("arrived_at"),
    )
    return map_in_arrow(columns, packed, CONTENTS)


def _by_shard(batch: pa.RecordBatch, shard_keys: Sequence[int]) -> Iterator[tuple[int, bytes, str]]:
    bars, reasons = checked(batch, time.time_ns() // 1_000_000)
    names = bars["symbol"].combine_chunks().dictionary_encode()
    # Python's own hash of a text is another in each process.
    shard_of = [crc32(name.encode()) % len(shard_keys) for name in names.dictionary.to_pylist()]
    shard = np.array(shard_of, np.int64)[names.indices.to_numpy()]
    for number in np.unique(shard):
        of_shard = bars.filter(pa.array(shard == number))
        yield shard_keys[number], to_bytes(of_shard), BARS
    bad = np.flatnonzero(reasons != None)  # noqa: E711 - element by element
    if len(bad):
        home = shard_keys[batch["partition"][0].as_py() % len(shard_keys)]
        yield home, to_bytes(refused(batch.take(pa.array(bad)), reasons[bad])), REFUSED


def refused(messages: pa.RecordBatch, reasons: NDArray[np.object_]) -> pa.Table:
    """`REFUSED_SCHEMA` for messages and the reason of each."""
    kept = {name: messages[name] for name in ("topic", "partition", "offset")}
    payload = pc.binary_slice(messages["value"], 0, KEPT_BYTES)
    return pa.table({"reason": pa.array(reasons, pa.string()), **kept, "payload": payload}).cast(
        REFUSED_SCHEMA
    )


def checked(messages: pa.RecordBatch, now_ms: int) -> tuple[pa.Table, NDArray[np.object_]]:
    """The good bars of `messages`, and of each message why it is none, or None.

    now_ms: epoch ms, against which the rules hold a bar's times.
    """
    rows, reasons = parsed(messages["value"].to_pylist())
    shaped = np.flatnonzero(reasons == None)  # noqa: E711 - element by element
    _, *columns = zip(*rows, strict=True) if rows else [()] * len(FIELDS)
    bars = pa.table(dict(zip(_COLUMNS, map(_column, _COLUMNS.values(), columns), strict=True)))
    reasons[shaped] = found = broken_rules(bars, now_ms)
    good = found == None  # noqa: E711 - element by element
    place = messages.take(pa.array(shaped))
    bars = bars.append_column("offset", place["offset"])
    arrived_at = pc.min_element_wise(place["arrived_at"], now_ms)
    return bars.append_column("arrived_at", arrived_at).filter(pa.array(good)), reasons


def _column(kind: pa.DataType, values: Sequence[Any]) -> pa.Array:
    if kind == pa.float64():
        # NumPy also takes the whole numbers that are too large for 64 bits.
        return pa.array(np.array(values, np.float64), from_pandas=True)
    return pa.array(values, kind)


def parsed(values: Sequence[bytes | None]) -> tuple[list[tuple[Any, ...]], NDArray[np.object_]]:
    """The values of `FIELDS` of each well-formed message, and of each message why it is none."""
    reasons = np.full(len(values), None, object)
    rows: list[tuple[Any, ...]] = []
    for at, value in enumerate(values):
        if value is None or len(value) > KEPT_BYTES:
            reasons[at] = misshapen(value)
            continue
        try:
            rows.append(_in_order(orjson.loads(value)))
        except (orjson.JSONDecodeError, KeyError, TypeError):
            reasons[at] = misshapen(value)
    if not well_formed(rows):
        # Among these rows are some of another shape: each by itself, then.
        of_rows = np.flatnonzero(reasons == None)  # noqa: E711 - element by element
        reasons[of_rows] = [misshapen(values[at]) for at in of_rows.tolist()]
        kept = reasons[of_rows] == None  # noqa: E711 - element by element
        rows = list(itertools.compress(rows, kept))
    return rows, reasons


def well_formed(rows: Sequence[tuple[Any, ...]]) -> bool:
    """Whether all rows hold what a bar's fields may hold."""
    columns = dict(zip(FIELDS, zip(*rows, strict=True), strict=True)) if rows else {}
    return all(
        set(map(type, values)).issubset(FIELDS[name])
        and (FIELDS[name] != (int,) or (min(values) in _INT64 and max(values) in _INT64))
        for name, values in columns.items()
    ) and not (
        set(columns.get("v", ())) - {BAR_VERSION}
        or set(columns.get("interval", ())) - TIMEFRAME_MS.keys()
        or not all(map(is_symbol, set(columns.get("symbol", ()))))
    )


def misshapen(value: bytes | None) -> str | None:
    """What keeps a message from being read as a bar, or None."""
    if value is None:
        return "the message is empty"
    if len(value) > KEPT_BYTES:
        return f"the message is longer than {KEPT_BYTES} bytes"
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        return NOT_JSON
    if not isinstance(found, dict) or not found.keys() & FIELDS.keys():
        return "not a JSON object with a bar's fields"
    for name, kinds in FIELDS.items():
        held = found.get(name, _MISSING)
        if type(held) not in kinds or (kinds == (int,) and held not in _INT64):
            return f"{name} is missing or not a {'string' if str in kinds else 'number'}"
        if name == "v" and held != BAR_VERSION:
            return f"v must be {BAR_VERSION}, found {held}"
    if found["interval"] not in TIMEFRAME_MS:
        return f"interval must be one of {', '.join(TIMEFRAME_MS)}"
    if not is_symbol(found["symbol"]):
        return "symbol must look like BASE-QUOTE"
    return None


def is_symbol(text: str) -> bool:
    """Whether a text looks like BASE-QUOTE."""
    return re.match(SYMBOL_PATTERN, text) is not None


def broken_rules(bars: pa.Table, now_ms: int) -> NDArray[np.object_]:
    """The first rule that each bar breaks, or None."""
    numbers = [name for name, kind in _COLUMNS.items() if kind != pa.string()]
    columns = {name: bars[name].to_numpy() for name in numbers}
    timeframe = bars["interval"].combine_chunks().dictionary_encode()
    lengths = np.array([TIMEFRAME_MS[name] for name in timeframe.dictionary.to_pylist()], np.int64)
    bar = SimpleNamespace(**columns, bar_ms=lengths[timeframe.indices.to_numpy()], now_ms=now_ms)
    found = np.full(len(bars), None, object)
    unknown_quote = np.isnan(bar.quote_volume)
    for reason, holds in (*RULES, QUOTE_VOLUME_RULE):
        broken = ~holds(bar)
        if reason == QUOTE_VOLUME_RULE[0]:
            broken &= ~unknown_quote
        if broken.any():
            found[broken & (found == None)] = reason  # noqa: E711 - element by element
    return found
