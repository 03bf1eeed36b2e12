"""From Kafka messages to checked bars; what breaks a rule keeps its reason and its place.

Spark's JVM parses the JSON and says what is missing or of another type. Whether the values make
sense, `ingest.bar.RULES` says, evaluated on whole Arrow batches: there also the clock is read.
Spark would write it into the code that it generates, and compile that anew in every micro-batch.
"""

import itertools
import json
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention
from pyspark.sql.types import DoubleType, LongType, StringType, StructField, StructType

from conf.intervals import INTERVAL_MS
from ingest.bar import BAR_VERSION, QUOTE_VOLUME_RULE, RULES, SYMBOL_PATTERN
from jobs.packed import pack

BAR_FIELDS: Final = {
    "v": LongType(),
    "symbol": StringType(),
    "interval": StringType(),
    "open_time": LongType(),
    "open": DoubleType(),
    "high": DoubleType(),
    "low": DoubleType(),
    "close": DoubleType(),
    "base_volume": DoubleType(),
    "quote_volume": DoubleType(),
    "source": StringType(),
    "fetched_at": LongType(),
}
NOT_JSON: Final = "not valid JSON"
_CORRUPT: Final = "_corrupt"
_JSON_OPTIONS: Final = {
    "mode": "PERMISSIVE",
    "columnNameOfCorruptRecord": _CORRUPT,
    "allowNonNumericNumbers": "false",
    "allowSingleQuotes": "false",
}
# A rejected message is kept for a person to look at, not to be played again: its beginning will do.
KEPT_BYTES: Final = 65_536


def read_messages(messages: DataFrame, shard_keys: Sequence[int]) -> DataFrame:
    """Checked bars and rejected messages of Kafka's `messages`, packed by shard: (shard, packed).

    A shard is one of `shard_keys`. Packed columns: reason (null: a good bar), the bar's fields, the
    message's topic, partition and offset, and when it came (`arrived_at`, epoch ms; a producer's
    clock that goes ahead counts as ours); `payload` holds the beginning of a rejected message.
    """
    schema = StructType(
        [StructField(name, kind) for name, kind in BAR_FIELDS.items()]
        + [StructField(_CORRUPT, StringType())]
    )
    text = F.col("value").cast("string")
    parsed = messages.withColumn("bar", F.from_json(text, schema, _JSON_OPTIONS))
    shaped = parsed.withColumn("reason", misshapen(parsed, text))
    rejected = F.col("reason").isNotNull()
    hashed = F.when(rejected, F.col("partition")).otherwise(F.xxhash64(F.col("bar.symbol")))
    keys = F.array(*map(F.lit, shard_keys))
    rows = shaped.select(
        F.element_at(keys, F.pmod(hashed, F.lit(len(shard_keys))).cast("int") + 1).alias("shard"),
        "reason",
        *[F.col(f"bar.{name}").alias(name) for name in BAR_FIELDS if name != "v"],
        "topic",
        "partition",
        "offset",
        F.unix_millis("timestamp").alias("arrived_at"),
        F.substring(F.col("value"), 1, KEPT_BYTES).alias("payload"),
    )
    return pack(rows, by="shard", change=checked)


def checked(messages: pa.RecordBatch) -> pa.RecordBatch:
    """`messages` with the reason where a bar breaks a rule, and no payload where none is."""
    now_ms = time.time_ns() // 1_000_000
    reasons = messages["reason"].to_numpy(zero_copy_only=False)
    for row in several_objects(messages):
        reasons[row] = reasons[row] or NOT_JSON
    well_formed = np.flatnonzero(pd.isna(reasons))
    reasons[well_formed] = broken_rules(messages.take(pa.array(well_formed)), now_ms)
    reason = pa.array(reasons, pa.string())
    payload = pc.if_else(pc.is_valid(reason), messages["payload"], None)
    arrived_at = pc.min_element_wise(messages["arrived_at"], now_ms)
    changed = {"reason": reason, "payload": payload, "arrived_at": arrived_at}
    return pa.RecordBatch.from_pydict(
        {name: changed.get(name, messages[name]) for name in messages.schema.names}
    )


def several_objects(messages: pa.RecordBatch) -> list[int]:
    """The rows that Spark took the first object of and passed over the rest, which is no JSON."""
    closed = pc.count_substring(messages["payload"], "}").to_numpy(zero_copy_only=False)
    found = []
    for row in np.flatnonzero(closed > 1).tolist():
        try:
            json.loads(messages["payload"][row].as_py())
        except (ValueError, RecursionError):
            found.append(row)
    return found


def broken_rules(bars: pa.RecordBatch, now_ms: int) -> NDArray[np.object_]:
    """The first rule that each bar breaks, or None."""
    numbers = [name for name, kind in BAR_FIELDS.items() if not isinstance(kind, StringType)]
    columns = {name: bars[name].to_numpy(zero_copy_only=False) for name in numbers if name != "v"}
    interval = bars["interval"].dictionary_encode()
    lengths = np.array([INTERVAL_MS[name] for name in interval.dictionary.to_pylist()], np.int64)
    bar = SimpleNamespace(
        **columns, interval_ms=lengths[interval.indices.to_numpy()], now_ms=now_ms
    )
    found = np.full(len(bars), None, object)
    unknown_quote = np.isnan(bar.quote_volume)
    for reason, holds in (*RULES, QUOTE_VOLUME_RULE):
        broken = ~holds(bar)
        if reason == QUOTE_VOLUME_RULE[0]:
            broken &= ~unknown_quote
        if broken.any():
            found[broken & (found == None)] = reason  # noqa: E711 - element by element
    return found


def balanced_shard_keys(spark: SparkSession, shards: int) -> list[int]:
    """A key for each shard, such that Spark gives each a shuffle partition of its own.

    Spark places a key by its hash; of the keys 0 to 3, two would share one of four partitions and
    leave another, and the core that works on it, with nothing to do.
    """
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    hashing = jvm.org.apache.spark.unsafe.hash.Murmur3_x86_32(42)
    keys: dict[int, int] = {}
    for key in itertools.count():
        keys.setdefault(hashing.hashInt(key) % shards, key)
        if len(keys) == shards:
            return [keys[partition] for partition in range(shards)]
    raise AssertionError


def misshapen(parsed: DataFrame, text: Column) -> Column:
    """What keeps a message from being read as a bar, or null."""
    bar = SimpleNamespace(**{name: parsed[f"bar.{name}"] for name in BAR_FIELDS})
    corrupt = F.col(f"bar.{_CORRUPT}").isNotNull()
    nothing = F.coalesce(*[getattr(bar, name).cast("string") for name in BAR_FIELDS]).isNull()
    # A null quote volume says that the source does not tell it; leaving the field out does not.
    quote_absent = bar.quote_volume.isNull() & (
        corrupt | ~F.contains(text, F.lit('"quote_volume"'))
    )
    reasons = [
        F.when(text.isNull(), F.lit("the message is empty")),
        F.when(nothing, F.lit("not a JSON object with a bar's fields")),
        F.when(
            bar.v != BAR_VERSION,
            F.concat(F.lit(f"v must be {BAR_VERSION}, found "), bar.v.cast("string")),
        ),
        *[
            F.when(getattr(bar, name).isNull(), F.lit(f"{name} is missing or {wrong_type(kind)}"))
            for name, kind in BAR_FIELDS.items()
            if name != "quote_volume"
        ],
        F.when(quote_absent, F.lit(f"quote_volume is missing or {wrong_type(DoubleType())}")),
        # Spark's parser stops at the end of the first object and does not say what follows.
        F.when(corrupt | ~F.rtrim(text).endswith("}"), F.lit(NOT_JSON)),
        F.when(
            ~bar.interval.isin(*INTERVAL_MS),
            F.lit(f"interval must be one of {', '.join(INTERVAL_MS)}"),
        ),
        F.when(~bar.symbol.rlike(SYMBOL_PATTERN), F.lit("symbol must look like BASE-QUOTE")),
    ]
    return F.coalesce(*reasons)


def wrong_type(kind: object) -> str:
    """What a field of another type is called in a reason."""
    return "not a string" if isinstance(kind, StringType) else "not a number"
