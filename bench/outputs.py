"""What a contender has written to its topic, and when it could be read there.

The broker stamps each record when it appends it (LogAppendTime), which on one broker is when
consumers may read it: one clock for all contenders, to the millisecond.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition


class Output(NamedTuple):
    """One record: `readable_ms` is the broker's time."""

    value: bytes
    readable_ms: int


def count_records(broker: str, topic: str) -> int:
    """How many records a topic holds."""
    with KafkaConsumer(bootstrap_servers=broker, group_id=None) as consumer:
        return sum(consumer.end_offsets(_partitions(consumer, topic)).values())


def read_records(broker: str, topic: str) -> Iterator[Output]:
    """Every record that the topic holds now."""
    with KafkaConsumer(
        bootstrap_servers=broker,
        group_id=None,
        check_crcs=False,  # on loopback, and slow in Python
        fetch_max_bytes=50_000_000,
        max_partition_fetch_bytes=10_000_000,
        max_poll_records=50_000,
    ) as consumer:
        partitions = _partitions(consumer, topic)
        consumer.assign(partitions)
        left = sum(consumer.end_offsets(partitions).values())
        consumer.seek_to_beginning(*partitions)
        while left > 0:
            for records in consumer.poll(timeout_ms=1_000).values():
                left -= len(records)
                for record in records:
                    yield Output(record.value, record.timestamp)


def _partitions(consumer: Any, topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
