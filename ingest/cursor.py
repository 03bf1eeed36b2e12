"""What is on a topic already: the cursor of every source, so that no second store can disagree."""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition

from conf.errors import BrokerUnavailable, MalformedArticle, MalformedBar
from conf.events import event
from conf.kafka import Broker, kafka_python_options
from conf.sections import Kafka
from ingest.article import Article, read_message
from ingest.bar import Bar
from ingest.bar_feed import BarFeed
from ingest.broker_errors import connecting
from ingest.clock import Clock, until_broker_answers
from ingest.news import BACKFILL_MS, OVERLAP_MS, NewsFeed
from ingest.topics import ensure_topics
from ingest.wake import read_wake

log = logging.getLogger(__name__)

POLL_MS: Final = 500
# A broker that has messages but delivers none for this many polls in a row is taken as gone.
SILENT_POLLS: Final = 60
FETCH_BYTES: Final = 8_000_000


def messages_since(broker: Broker, topic: str, since_ms: int) -> Iterator[bytes]:
    """Yield the values of the messages that were sent at or after `since_ms` (epoch ms).

    Raises BrokerUnavailable.
    """
    return (record.value for record in records_since(broker, topic, since_ms))


def records_since(broker: Broker, topic: str, since_ms: int) -> Iterator[Any]:
    """Yield the same as kafka-python's records, with their times (epoch ms).

    Reads up to where the topic ends at the call, without a consumer group.
    """
    with (
        connecting(broker),
        KafkaConsumer(
            **kafka_python_options(broker),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",  # as the stream reads
            bootstrap_timeout_ms=5_000,
            # In pure Python the check takes four times as long as everything else; TCP has its own.
            check_crcs=False,
            max_poll_records=10_000,
            max_partition_fetch_bytes=FETCH_BYTES,
        ) as consumer,
    ):
        yield from _read(consumer, topic, since_ms)


def _read(consumer: Any, topic: str, since_ms: int) -> Iterator[Any]:
    ends = _seek(consumer, topic, since_ms)
    silent = 0
    while ends:
        polled = consumer.poll(timeout_ms=POLL_MS)
        silent = 0 if polled else silent + 1
        if silent >= SILENT_POLLS:
            raise BrokerUnavailable(f"topic {topic} delivers nothing, but has unread messages")
        for messages in polled.values():
            yield from (message for message in messages if message.value is not None)
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


def bars_since(broker: Broker, topic: str, since_ms: int, earliest_ms: int = 0) -> Iterator[Bar]:
    """Yield the bars on `topic` that were sent at or after `since_ms` (epoch ms).

    A bar is sent after it opened, so this finds every bar that opened at or after `since_ms`, and
    some older ones. What the stream refuses, which has the same rules, is no bar: it is passed
    over. Raises BrokerUnavailable.
    """
    refused = 0
    for message in records_since(broker, topic, since_ms):
        try:
            bar = Bar.from_json(message.value)
        except MalformedBar:
            refused += read_wake(message.value) is None
            continue
        # A bar of the future was refused when it came, though its time has passed by now.
        sent_ms = message.timestamp if message.timestamp > 0 else time.time_ns() // 1_000_000
        if bar.rejection_reason(sent_ms, earliest_ms) is None:
            yield bar
        else:
            refused += 1
    if refused:
        event(log, "passed_over", level=logging.WARNING, topic=topic, messages=refused)


def resume(
    bars: Sequence[BarFeed],
    news: Sequence[NewsFeed],
    kafka: Kafka,
    clock: Clock,
    earliest_ms: int = 0,
) -> int:
    """Create missing topics, and tell each feed what of it is on them already.

    Returns how many bars are missing. Waits for a broker that is not there yet; raises
    BrokerUnavailable once the clock is stopping.
    """
    names = [kafka.bars_topic, kafka.rejected_topic, *([kafka.news_topic] if news else [])]
    topics = dict.fromkeys(names, kafka.partitions)

    def read_back() -> int:
        ensure_topics(kafka, topics, retention_s=kafka.retention_s)
        for feed in news:
            resume_news(feed, kafka, clock.now_ms())
        return resume_bars(bars, kafka, clock.now_ms(), earliest_ms)

    return until_broker_answers(read_back, clock)


def resume_bars(feeds: Sequence[BarFeed], kafka: Kafka, now_ms: int, earliest_ms: int = 0) -> int:
    """Tell each feed which of its bars are on the topic; return how many are still missing.

    Reads only what was sent since the oldest bar that any feed may want. Raises BrokerUnavailable.
    """
    wanted = sum(feed.missing(now_ms) for feed in feeds)
    by_series = {(feed.series.symbol, feed.series.interval): feed for feed in feeds}
    since_ms = min(feed.coverage.first_ms for feed in feeds)
    for bar in bars_since(kafka, kafka.bars_topic, since_ms, earliest_ms):
        feed = by_series.get((bar.symbol, bar.interval))
        if feed is not None:
            feed.saw(bar)
    left = sum(feed.missing(now_ms) for feed in feeds)
    event(log, "resumed", series=len(feeds), wanted=wanted, on_topic=wanted - left, missing=left)
    return left


def resume_news(feed: NewsFeed, kafka: Kafka, now_ms: int) -> None:
    """Tell `feed` which articles are on the topic; raises BrokerUnavailable."""
    for value in messages_since(kafka, kafka.news_topic, now_ms - BACKFILL_MS - OVERLAP_MS):
        try:
            found = read_message(value)
        except MalformedArticle as error:
            event(log, "passed_over", level=logging.DEBUG, topic=kafka.news_topic, reason=error)
            continue
        if isinstance(found, Article) and found.rejection_reason(now_ms) is None:
            feed.saw(found)


def without_known(bars: Iterable[Bar], known: Iterable[Bar]) -> Iterable[Bar]:
    """`bars` less those that `known` holds: what a broken-off replay still has to publish."""
    seen = {(bar.symbol, bar.interval, bar.open_time) for bar in known}
    return (bar for bar in bars if (bar.symbol, bar.interval, bar.open_time) not in seen)
