"""The newest predictions and rejections, straight from their topics.

One reader serves every open page. It belongs to no consumer group, commits nothing and creates no
topic: to the broker and the stream it might as well not be there.
"""

import logging
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Final

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from conf.errors import CandlecastError, MalformedRecord
from conf.events import event
from conf.kafka import Broker, kafka_python_options
from dashboard.records import Row, prediction, rejection
from dashboard.tables import Series
from ingest.broker_errors import connecting

log = logging.getLogger(__name__)

# Enough for every horizon of some hundred series; what is older is in Parquet.
TAIL: Final = 5_000
KEPT_A_SERIES: Final = 300
# Of all series: 35 MB. Whoever may write to the topic may make up names of series.
KEPT: Final = 30_000
KEPT_REASONS: Final = 500
RETRY_S: Final = 2.0
POLL_MS: Final = 500
# A poll of a dead broker raises nothing: so often it gets a request that it has to answer.
PROBE_S: Final = 5.0
PROBE_TIMEOUT_MS: Final = 3_000
_FAILURES: Final = (CandlecastError, KafkaError, OSError)


class NewestMessages:
    """Reads the ends of both topics in a thread until `stop`; every method may be called any time.

    `state` is `connecting`, `connected`, `no topic`, `no broker`, or `reader failed` where the
    fault is ours.
    """

    def __init__(self, broker: Broker, predictions_topic: str, rejected_topic: str) -> None:
        self.state = "connecting"
        self.rejected = 0
        self._malformed: Counter[str] = Counter()
        self.received_at: float | None = None
        self._broker = broker
        self._topics = (predictions_topic, rejected_topic)
        self._rows: OrderedDict[Series, deque[Row]] = OrderedDict()
        self._kept = 0
        # The offset to go on from, and the first one whose prediction is new to a follower.
        self._next: dict[TopicPartition, int] = {}
        self._new_from: dict[TopicPartition, int] = {}
        self._looked = False
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

    def passed_over(self) -> dict[str, int]:
        """How many records hold no prediction and no rejection, by reason."""
        with self._lock:
            return dict(self._malformed)

    def series(self) -> set[Series]:
        """The series that have been predicted lately."""
        with self._lock:
            return set(self._rows)

    def reasons(self) -> Counter[str]:
        """Why messages were rejected lately, and how often."""
        with self._lock:
            return Counter(self._reasons)

    def follow(self, follower: Callable[[Row], None]) -> Callable[[], None]:
        """Call `follower` with each new prediction, from the reader's thread; returns the end."""
        with self._lock:
            self._followers.append(follower)

        def unfollow() -> None:
            with self._lock:
                self._followers.remove(follower)

        return unfollow

    def keep(self, row: Row, is_new: bool) -> None:
        """Take a prediction over; what `is_new` goes to the followers."""
        series = row["symbol"], row["interval"]
        with self._lock:
            rows = self._rows.setdefault(series, deque(maxlen=KEPT_A_SERIES))
            self._kept += len(rows) < KEPT_A_SERIES
            rows.append(row)
            self._rows.move_to_end(series)
            while self._kept > KEPT:
                _, oldest = self._rows.popitem(last=False)
                self._kept -= len(oldest)
            followers = list(self._followers) if is_new else []
        for follower in followers:
            follower(row)
        self.received_at = time.time()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._read()
            except _FAILURES as error:
                self.state = "no broker"
                event(log, "broker_unreachable", servers=self._broker, reason=error)
            except Exception:  # of ours: said, seen in `state`, and the thread lives on
                self.state = "reader failed"
                log.exception("event=reader_failed")
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
            partitions = self._partitions(consumer)
            if not any(p.topic == self._topics[0] for p in partitions):
                self.state, self._looked = "no topic", True
                return
            self._seek(consumer, partitions)
            self._looked = True
            self.state = "connected"
            self._poll(consumer, partitions)
        finally:
            consumer.close(autocommit=False)

    def _partitions(self, consumer: KafkaConsumer) -> set[TopicPartition]:
        existing = consumer.topics()
        return {
            TopicPartition(topic, number)
            for topic in self._topics
            if topic in existing
            for number in consumer.partitions_for_topic(topic) or ()
        }

    def _seek(self, consumer: KafkaConsumer, partitions: set[TopicPartition]) -> None:
        """Go on where the connection was lost; of a partition not seen before, read the tail."""
        consumer.assign(partitions)
        first, end = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        for partition in partitions:
            known = self._next.get(partition)
            if known is None:
                self._new_from[partition] = first[partition] if self._looked else end[partition]
            elif known > end[partition]:  # made anew, or cut short: what is there may be known
                self._new_from[partition], known = end[partition], None
            tail = end[partition] - TAIL
            start = max(first[partition], tail if known is None else max(known, tail))
            self._next[partition] = start
            consumer.seek(partition, start)

    def _poll(self, consumer: KafkaConsumer, partitions: set[TopicPartition]) -> None:
        probed = 0.0
        while not self._stopping.is_set():
            if time.monotonic() - probed > PROBE_S:
                end = consumer.end_offsets(partitions, timeout_ms=PROBE_TIMEOUT_MS)
                self.rejected = sum(o for p, o in end.items() if p.topic == self._topics[1])
                if self._partitions(consumer) != partitions:
                    return  # a topic has come, or grown
                probed = time.monotonic()
            for partition, records in consumer.poll(timeout_ms=POLL_MS).items():
                self._take(partition, ((record.offset, record.value) for record in records))

    def _take(self, partition: TopicPartition, records: Iterable[tuple[int, bytes | None]]) -> None:
        for offset, value in records:
            try:
                if partition.topic == self._topics[1]:
                    self._keep_reason(rejection(value))
                else:
                    row = prediction(value, int(time.time() * 1000))
                    self.keep(row, is_new=offset >= self._new_from[partition])
            except MalformedRecord as error:
                self._pass_over(partition, offset, str(error))
            except Exception as error:  # of ours: one record is not worth the others
                log.exception("event=record_failed")
                self._pass_over(partition, offset, f"not understood: {type(error).__name__}")
            self._next[partition] = offset + 1

    def _keep_reason(self, reason: str) -> None:
        with self._lock:
            self._reasons.append(reason)

    def _pass_over(self, partition: TopicPartition, offset: int, reason: str) -> None:
        with self._lock:
            first = reason not in self._malformed
            self._malformed[reason] += 1
        if first:  # the rest is counted: anyone may send a million of them
            where = {"topic": partition.topic, "partition": partition.partition, "offset": offset}
            event(log, "record_passed_over", level=logging.WARNING, reason=reason, **where)
