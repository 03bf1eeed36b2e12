"""From Kafka messages to checked bars; what breaks a rule keeps its reason and its place.

The rules themselves are `ingest.bar.RULES`, evaluated here on Spark columns.
"""

import itertools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Final

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention
from pyspark.sql.types import DoubleType, LongType, StringType, StructField, StructType

from conf.intervals import INTERVAL_MS
from ingest.bar import BAR_VERSION, QUOTE_VOLUME_RULE, RULES, SYMBOL_PATTERN

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
    """Checked bars and rejected messages of Kafka's `messages`, each with its shard.

    Columns: shard (one of `shard_keys`), reason (null: a good bar), the bar's fields, the message's
    topic, partition and offset, and when it came (`arrived_at`, epoch ms; a producer's clock that
    goes ahead counts as ours); `payload` holds the beginning of a rejected message, null for a bar.
    """
    schema = StructType(
        [StructField(name, kind) for name, kind in BAR_FIELDS.items()]
        + [StructField(_CORRUPT, StringType())]
    )
    text = F.col("value").cast("string")
    parsed = messages.withColumn("bar", F.from_json(text, schema, _JSON_OPTIONS))
    checked = parsed.withColumn("reason", rejection(parsed, text))
    rejected = F.col("reason").isNotNull()
    hashed = F.when(rejected, F.col("partition")).otherwise(F.xxhash64(F.col("bar.symbol")))
    keys = F.array(*map(F.lit, shard_keys))
    return checked.select(
        F.element_at(keys, F.pmod(hashed, F.lit(len(shard_keys))).cast("int") + 1).alias("shard"),
        "reason",
        *[F.col(f"bar.{name}").alias(name) for name in BAR_FIELDS if name != "v"],
        "topic",
        "partition",
        "offset",
        F.unix_millis(F.least("timestamp", F.current_timestamp())).alias("arrived_at"),
        F.when(rejected, F.substring(F.col("value"), 1, KEPT_BYTES)).alias("payload"),
    )


def balanced_shard_keys(spark: SparkSession, shards: int) -> list[int]:
    """A key for each shard, such that Spark gives each a shuffle partition of its own.

    Spark places a key by its hash; of the keys 0 to 3, two would share one of four partitions and
    leave another, and the core that works on it, with nothing to do.
    """
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    hash_int, seed = jvm.org.apache.spark.unsafe.hash.Murmur3_x86_32.hashInt, 42
    keys: dict[int, int] = {}
    for key in itertools.count():
        keys.setdefault(hash_int(key, seed) % shards, key)
        if len(keys) == shards:
            return [keys[partition] for partition in range(shards)]
    raise AssertionError


def rejection(parsed: DataFrame, text: Column) -> Column:
    """The first reason to refuse a message, or null."""
    bar = SimpleNamespace(**{name: parsed[f"bar.{name}"] for name in BAR_FIELDS})
    corrupt = F.col(f"bar.{_CORRUPT}").isNotNull()
    bar.interval_ms = interval_ms(bar.interval)
    bar.now_ms = F.unix_millis(F.current_timestamp())
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
        F.when(corrupt | ~F.rtrim(text).endswith("}"), F.lit("not valid JSON")),
        F.when(
            bar.interval_ms.isNull(), F.lit(f"interval must be one of {', '.join(INTERVAL_MS)}")
        ),
        F.when(~bar.symbol.rlike(SYMBOL_PATTERN), F.lit("symbol must look like BASE-QUOTE")),
        *[F.when(~holds(bar), F.lit(reason)) for reason, holds in RULES],
    ]
    reason, holds = QUOTE_VOLUME_RULE
    reasons.append(F.when(bar.quote_volume.isNotNull() & ~holds(bar), F.lit(reason)))
    return F.coalesce(*reasons)


def interval_ms(interval: Column) -> Column:
    """The length in milliseconds of the interval named in a column; null where there is none."""
    return F.create_map(*[F.lit(x) for item in INTERVAL_MS.items() for x in item])[interval]


def wrong_type(kind: object) -> str:
    """What a field of another type is called in a reason."""
    return "not a string" if isinstance(kind, StringType) else "not a number"
