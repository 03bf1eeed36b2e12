"""What a shard of the window state is made with, and the variables of Spark's store for it."""

from dataclasses import dataclass
from typing import Final

from pyspark.sql.streaming import StatefulProcessorHandle
from pyspark.sql.streaming.stateful_processor import MapState, ValueState
from pyspark.sql.types import ArrayType, BinaryType, LongType, StructField, StructType


@dataclass(frozen=True)
class ShardSettings:
    """Of the window state: what a shard is made with, and how long a silent series is kept.

    market: the settings `[market]` as JSON, "" where nobody has leaders: a start waits for no
    import that reads them.
    """

    lookback: int
    late_bars: int
    shards: int
    silent_ms: int
    market: str = ""


# `stream.state.shard_store` says what they hold.
_HEAD: Final = StructType(
    [StructField("bytes", LongType()), StructField("changes", ArrayType(BinaryType()))]
)
_SHARD: Final = StructType([StructField("shard", BinaryType())])
_NAME: Final = StructType([StructField("name", BinaryType())])
_CHANGE: Final = StructType([StructField("value", BinaryType())])
_NEWS: Final = StructType([StructField("news", BinaryType())])


@dataclass(frozen=True)
class StateVariables:
    """What Spark's state store keeps of a shard; `news` where they count. Spark says of which
    shard each call reads and writes."""

    head: ValueState
    snapshot: ValueState
    changes: MapState
    news: ValueState | None

    @classmethod
    def of(cls, handle: StatefulProcessorHandle, reads_news: bool) -> "StateVariables":
        """The variables of the task that `handle` is of."""
        return cls(
            handle.getValueState("head", _HEAD),
            handle.getValueState("shard", _SHARD),
            handle.getMapState("changes", _NAME, _CHANGE),
            handle.getValueState("news", _NEWS) if reads_news else None,
        )
