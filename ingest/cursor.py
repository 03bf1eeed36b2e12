"""What is on a topic already: the cursor of every source, so that no second store can disagree."""

import logging
from collections.abc import Callable, Iterator
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition

from conf.errors import BrokerUnavailable, MalformedBar
from conf.kafka import Broker, kafka_python_options
from ingest.bar import Bar
from ingest.broker_errors import connecting

log = logging.getLogger(__name__)

POLL_MS: Final = 500
# A broker that has messages but delivers none for this many polls in a row is taken as gone.
SILENT_POLLS: Final = 60
FETCH_BYTES: Final = 8_000_000

Report = Callable[[int, int], None]


def messages_since(
    broker: Broker,
    topic: str,
    since_ms: int,
    report: Report = lambda done, total: None,
) -> Iterator[bytes]:
    """Yield the values of the messages that were sent at or after `since_ms` (epoch ms).

    Reads up to where the topic ends at the call, without a consumer group. `report` is told how
    many of how many messages are read. Raises BrokerUnavailable.
    """
    with (
        connecting(broker),
        KafkaConsumer(
            **kafka_python_options(broker),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            bootstrap_timeout_ms=5_000,
            # In pure Python the check takes four times as long as everything else; TCP has its own.
            check_crcs=False,
            max_poll_records=10_000,
            max_partition_fetch_bytes=FETCH_BYTES,
        ) as consumer,
    ):
        yield from _read(consumer, topic, since_ms, report)


def _read(consumer: Any, topic: str, since_ms: int, report: Report) -> Iterator[bytes]:
    ends = _seek(consumer, topic, since_ms)
    total = sum(end - consumer.position(partition) for partition, end in ends.items())
    done = silent = 0
    while ends:
        polled = consumer.poll(timeout_ms=POLL_MS)
        silent = 0 if polled else silent + 1
        if silent >= SILENT_POLLS:
            raise BrokerUnavailable(f"topic {topic} delivers nothing; {total - done} are unread")
        for messages in polled.values():
            yield from (message.value for message in messages if message.value is not None)
            done += len(messages)
        report(min(done, total), total)
        ends = {at: end for at, end in ends.items() if consumer.position(at) < end}


def _seek(consumer: Any, topic: str, since_ms: int) -> dict[Any, int]:
    """Stand before the first message to read; return where each partition with any ends."""
    partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
    if not partitions:
        return {}
    consumer.assign(partitions)
    ends = consumer.end_offsets(partitions)
    starts = consumer.offsets_for_times(dict.fromkeys(partitions, max(0, since_ms)))
    for partition in partitions:
        # No message that young: there is nothing to read.
        start = ends[partition] if starts[partition] is None else starts[partition].offset
        consumer.seek(partition, start)
    return {at: end for at, end in ends.items() if consumer.position(at) < end}


def bars_since(
    broker: Broker,
    topic: str,
    since_ms: int,
    report: Report = lambda done, total: None,
) -> Iterator[Bar]:
    """Yield the bars on `topic` that were sent at or after `since_ms` (epoch ms).

    A bar is sent after it opened, so this finds every bar that opened at or after `since_ms`, and
    some older ones. Messages that are no bars are passed over: the stream reports them. Raises
    BrokerUnavailable.
    """
    foreign = 0
    for value in messages_since(broker, topic, since_ms, report):
        try:
            yield Bar.from_json(value)
        except MalformedBar:
            foreign += 1
    if foreign:
        log.warning("event=cursor_passed_over topic=%s messages=%d", topic, foreign)
