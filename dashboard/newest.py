"""The newest predictions and rejections, straight from their topics.

One reader serves every open page. It belongs to no consumer group, commits nothing and creates no
topic: to the broker and the stream it might as well not be there.
"""

import json
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from conf.errors import CandlecastError
from conf.events import event
from conf.kafka import Broker, kafka_python_options
from dashboard.tables import Series
from ingest.broker_errors import connecting

log = logging.getLogger(__name__)

Row = dict[str, Any]

# Enough for every horizon of some hundred series; what is older is in Parquet.
TAIL: Final = 5_000
KEPT_A_SERIES: Final = 300
KEPT_REASONS: Final = 500
RETRY_S: Final = 2.0
POLL_MS: Final = 500
# A poll of a dead broker raises nothing: so often it gets a request that it has to answer.
PROBE_S: Final = 5.0
PROBE_TIMEOUT_MS: Final = 3_000
# The broker's, and those of a message that is not what it should be.
FAILURES: Final = (CandlecastError, KafkaError, OSError, ValueError, LookupError, TypeError)


class NewestMessages:
    """Reads the ends of both topics in a thread until `stop`; every method may be called any time.

    `state` is `connecting`, `connected`, `no topic` or `no broker`.
    """

    def __init__(self, broker: Broker, predictions_topic: str, rejected_topic: str) -> None:
        self.state = "connecting"
        self.rejected = 0
        self.received_at: float | None = None
        self._broker = broker
        self._topics = (predictions_topic, rejected_topic)
        self._rows: dict[Series, deque[Row]] = {}
        self._reasons: deque[str] = deque(maxlen=KEPT_REASONS)
        self._followers: list[Callable[[Row], None]] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="newest", daemon=True)

    def start(self) -> "NewestMessages":
        """Begin reading."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join()

    def predictions(self, symbol: str, timeframe: str) -> list[Row]:
        """The newest predictions of a series as the topic holds them: times in epoch ms."""
        with self._lock:
            return list(self._rows.get((symbol, timeframe), ()))

    def series(self) -> set[Series]:
        """The series that have been predicted lately."""
        with self._lock:
            return set(self._rows)

    def reasons(self) -> Counter[str]:
        """Why messages were rejected lately, and how often."""
        with self._lock:
            return Counter(self._reasons)

    @property
    def followers(self) -> int:
        """How many are called with each new prediction."""
        return len(self._followers)

    def follow(self, follower: Callable[[Row], None]) -> Callable[[], None]:
        """Call `follower` with each new prediction, from the reader's thread; returns the end."""
        with self._lock:
            self._followers.append(follower)

        def unfollow() -> None:
            with self._lock:
                self._followers.remove(follower)

        return unfollow

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._read()
            except FAILURES as error:
                self.state = "no broker"
                event(log, "broker_unreachable", servers=self._broker, reason=error)
            self._stopping.wait(RETRY_S)

    def _read(self) -> None:
        with connecting(self._broker):
            consumer = KafkaConsumer(
                **kafka_python_options(self._broker),
                group_id=None,
                enable_auto_commit=False,
                allow_auto_create_topics=False,
                bootstrap_timeout_ms=PROBE_TIMEOUT_MS,
            )
        try:
            existing = consumer.topics()
            partitions = [
                TopicPartition(topic, number)
                for topic in self._topics
                if topic in existing
                for number in consumer.partitions_for_topic(topic) or ()
            ]
            if not any(p.topic == self._topics[0] for p in partitions):
                self.state = "no topic"
                return
            self._seek_to_tails(consumer, partitions)
            self.state = "connected"
            self._poll(consumer, partitions)
        finally:
            consumer.close(autocommit=False)

    def _seek_to_tails(self, consumer: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        consumer.assign(partitions)
        first, end = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        for partition in partitions:
            consumer.seek(partition, max(first[partition], end[partition] - TAIL))

    def _poll(self, consumer: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        probed = 0.0
        while not self._stopping.is_set():
            if time.monotonic() - probed > PROBE_S:
                end = consumer.end_offsets(partitions, timeout_ms=PROBE_TIMEOUT_MS)
                self.rejected = sum(o for p, o in end.items() if p.topic == self._topics[1])
                probed = time.monotonic()
            for partition, records in consumer.poll(timeout_ms=POLL_MS).items():
                self._take(partition.topic, [json.loads(record.value) for record in records])

    def _take(self, topic: str, messages: Iterable[Row]) -> None:
        with self._lock:
            if topic == self._topics[1]:
                self._reasons.extend(str(message.get("reason")) for message in messages)
                return
            for row in messages:
                series = row["symbol"], row["interval"]
                self._rows.setdefault(series, deque(maxlen=KEPT_A_SERIES)).append(row)
                for follower in self._followers:
                    follower(row)
        self.received_at = time.time()
