"""What a shard of the window state is made with, and the variables of Spark's store for it."""

from dataclasses import dataclass

from pyspark.sql.streaming import StatefulProcessorHandle
from pyspark.sql.streaming.stateful_processor import MapState, ValueState
from pyspark.sql.types import BinaryType, StructField, StructType


@dataclass(frozen=True)
class ShardSettings:
    """Of the window state: what a shard is made with, and how long a silent series is kept."""

    lookback: int
    late_bars: int
    shards: int
    silent_ms: int


@dataclass(frozen=True)
class StateVariables:
    """What Spark's state store keeps of a shard, of one field of bytes each; `news` where they
    count. It says in whose key's name each call reads and writes."""

    head: ValueState
    snapshot: ValueState
    changes: MapState
    news: ValueState | None

    @classmethod
    def of(cls, handle: StatefulProcessorHandle, reads_news: bool) -> "StateVariables":
        """The variables of the task that `handle` is of."""
        return cls(
            handle.getValueState("head", _bytes("value")),
            handle.getValueState("shard", _bytes("shard")),
            handle.getMapState("changes", _bytes("name"), _bytes("value")),
            handle.getValueState("news", _bytes("news")) if reads_news else None,
        )


def _bytes(name: str) -> StructType:
    return StructType([StructField(name, BinaryType())])
