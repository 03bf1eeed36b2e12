"""What lies on a topic, and when it could be read there.

The broker stamps each record when it appends it (LogAppendTime), which with one broker is when
consumers may read it: one clock for all contenders, to the millisecond.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from kafka import KafkaConsumer, TopicPartition

from bench.series import HORIZONS
from conf.errors import CandlecastError

# Of the same prices: a float32 network fed with the same window, whatever adds up its sums. The
# wrong window of this random walk moves the price 100 times as far.
TOLERANCE: Final = 1e-6
IDENTITY: Final = ["symbol", "as_of", "horizon"]


class PredictionsDiffer(CandlecastError):
    """A contender predicts something else than our job; the message says where."""


def end_offsets(broker: str, topic: str) -> dict[TopicPartition, int]:
    """Where each partition of a topic ends now."""
    with KafkaConsumer(bootstrap_servers=broker, group_id=None) as consumer:
        numbers = consumer.partitions_for_topic(topic) or ()
        return dict(consumer.end_offsets([TopicPartition(topic, n) for n in numbers]))


def read_records(
    broker: str, topic: str, since: dict[TopicPartition, int] | None = None
) -> Iterator[tuple[dict[str, Any], int]]:
    """Each JSON message on a topic (after the offsets `since`), and the broker's time of it, ms."""
    ends = end_offsets(broker, topic)
    with KafkaConsumer(
        bootstrap_servers=broker,
        group_id=None,
        check_crcs=False,  # on loopback, and slow in Python
        max_partition_fetch_bytes=10_000_000,
        max_poll_records=50_000,
    ) as consumer:
        consumer.assign(list(ends))
        for partition in ends:
            consumer.seek(partition, (since or {}).get(partition, 0))
        left = sum(ends.values()) - sum((since or {}).values())
        while left > 0:
            for records in consumer.poll(timeout_ms=1_000).values():
                left -= len(records)
                for record in records:
                    yield json.loads(record.value), record.timestamp


def require_same(broker: str, output: str, predictions_table: Path) -> int:
    """Compare every prediction on a contender's topic with our job's; return how many there are.

    Raises PredictionsDiffer.
    """
    rows = [
        (value["symbol"], value["as_of"], horizon, close)
        for value, _ in read_records(broker, output)
        for horizon, close in zip(HORIZONS, value["predicted_close"], strict=True)
    ]
    theirs = pd.DataFrame(rows, columns=[*IDENTITY, "predicted_close"]).drop_duplicates(IDENTITY)
    ours = pd.read_parquet(predictions_table, columns=[*IDENTITY, "predicted_close"])
    ours["as_of"] = ours["as_of"].astype("datetime64[ms, UTC]").astype("int64")
    both = theirs.merge(ours, "left", IDENTITY, suffixes=("", "_ours"))
    away = np.abs(both["predicted_close"] / both["predicted_close_ours"] - 1)
    wrong = both[~(away < TOLERANCE)]
    if len(wrong) or not len(both):
        raise PredictionsDiffer(
            f"{output}: {len(wrong)} of {len(both)} predictions differ from ours, the first: "
            f"{wrong.head(1).to_dict('records')}"
        )
    return len(both)
