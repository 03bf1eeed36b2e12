"""Records to Kafka: `publish` returns only when the broker has acknowledged every one."""

import base64
import json
import logging
import threading
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple, Self

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError

from conf.errors import BrokerUnavailable
from conf.events import event
from conf.kafka import Broker, kafka_python_options
from ingest.article import Article, Listed
from ingest.bar import BAR_VERSION, Bar
from ingest.broker_errors import connecting, unusable

log = logging.getLogger(__name__)

# One minute's bars should reach the stream as one group: a group that straddles two micro-batches
# waits for the second. Who waits for an acknowledgement ends it, so that nobody waits this long; a
# thousand bars take a tenth of a second to gather, on a busy machine half a second.
LINGER_S: Final = 5.0
# Below the broker's default limit of 1,048,588 bytes a batch (message.max.bytes).
BATCH_BYTES: Final = 1_000_000
# kafka-python 3 has no limit on its buffer; this many unacknowledged records are about 10 MB.
MAX_PENDING: Final = 20_000
# Of what is rejected, this much is kept for a person to look at.
KEPT_CHARACTERS: Final = 65_536
# A blocked wait looks this often whether the program is to stop.
SLICE_S: Final = 0.25


class Record(NamedTuple):
    """One message for Kafka; records of one key keep their order.

    partition: None for the one that the key gives.
    """

    topic: str
    key: bytes
    value: bytes
    partition: int | None = None


class Publisher:
    """Sends records and waits for their acknowledgement by all in-sync replicas.

    A context manager. After a failure it is still usable: the next call connects anew, and the
    caller sends the same records again, so each record arrives at least once.
    `timeout_s` bounds how long one attempt waits for the broker; once `stopping` is set, an
    attempt ends within about `stop_after_s`.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        timeout_s: float = 30.0,
        stopping: threading.Event | None = None,
        stop_after_s: float = 3.0,
    ) -> None:
        self._broker = broker
        self._linger_s = min(LINGER_S, timeout_s / 2)
        self._timeout_s = timeout_s
        self._stopping = stopping or threading.Event()
        self._stop_after_s = stop_after_s
        self._producer: Any = None

    def __enter__(self) -> Self:
        self._connected()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back; everything that `send` returned for is acknowledged."""
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                producer.close(timeout=self._stop_after_s if self._stopping.is_set() else 0.5)
            except KafkaError as error:
                event(log, "close_failed", level=logging.DEBUG, error=repr(error))

    def send(self, records: Iterable[Record]) -> int:
        """Send `records`, wait until all are acknowledged, and return how many they were.

        Any number of records: at most MAX_PENDING are under way at a time.
        Raises BrokerUnavailable where one of them was not acknowledged in time, ConfigurationError
        where the broker refuses us.
        """
        sent = 0
        waiting = iter(records)
        while group := list(islice(waiting, MAX_PENDING)):
            try:
                producer = self._connected()
                self._await(
                    [
                        producer.send(topic, value, key, partition=partition)
                        for topic, key, value, partition in group
                    ]
                )
            except KafkaError as error:
                self.close()
                raise unusable(self._broker, error) from error
            sent += len(group)
        return sent

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has; raises what `send` raises."""
        try:
            return len(self._connected().partitions_for(topic))
        except KafkaError as error:
            self.close()
            raise unusable(self._broker, error) from error

    def _await(self, pending: Sequence[Any]) -> None:
        """Wait until all is acknowledged; raises the KafkaError of the first that is not."""
        waited_s = 0.0
        while not all(future.is_done for future in pending):
            # The producer gives up first: what it still holds would keep its thread alive.
            limit_s = self._stop_after_s if self._stopping.is_set() else self._timeout_s + 1
            if waited_s >= limit_s:
                self.close()
                raise BrokerUnavailable(
                    f"Kafka at {self._broker} did not acknowledge within {limit_s:g} s"
                )
            try:
                self._producer.flush(SLICE_S)  # from now on no record lingers for company
            except KafkaTimeoutError:
                waited_s += SLICE_S
        for future in pending:
            if future.exception is not None:
                raise future.exception

    def _connected(self) -> Any:
        if self._producer is None:
            with connecting(self._broker):
                self._producer = KafkaProducer(
                    **kafka_python_options(self._broker),
                    # Defaults, but unless explicit, a contradicting option turns idempotence off.
                    acks="all",
                    enable_idempotence=True,
                    linger_ms=int(self._linger_s * 1000),
                    batch_size=BATCH_BYTES,
                    max_request_size=4 * BATCH_BYTES,
                    max_block_ms=int(self._timeout_s * 1000),
                    request_timeout_ms=int((self._timeout_s - self._linger_s) * 1000) - 1,
                    delivery_timeout_ms=int(self._timeout_s * 1000),
                    bootstrap_timeout_ms=int(min(self._timeout_s, 5.0) * 1000),
                )
        return self._producer


class BarPublisher(Publisher):
    """Bars to one topic, keyed by symbol, so that a symbol's bars keep their order."""

    def __init__(self, broker: Broker, topic: str, **options: Any) -> None:
        super().__init__(broker, **options)
        self.topic = topic

    def publish(self, bars: Iterable[Bar]) -> int:
        """Send `bars`, wait until all are acknowledged, and return how many they were.

        Raises BrokerUnavailable where one of them was not acknowledged in time.
        """
        return self.send(bar_record(self.topic, bar) for bar in bars)


def bar_record(topic: str, bar: Bar) -> Record:
    """The message that carries `bar`.

    >>> bar = Bar("BTC-USD", "1m", 1514219880000, 10.0, 12.0, 9.0, 11.0, 1.5, 16.0, "example", 0)
    >>> bar_record("bars", bar).key
    b'BTC-USD'
    """
    return Record(topic, bar.symbol.encode(), bar.to_json())


def article_record(topic: str, article: Article | Listed) -> Record:
    """The message that carries `article`.

    Keyed by provider, so that its articles keep their order: whoever finds one on the topic knows
    that those before it are there.
    """
    return Record(topic, article.provider.encode(), article.to_json())


def rejection_record(topic: str, bar: Bar, reason: str, now_ms: int) -> Record:
    """The message that says why `bar` was not published.

    The key names the bar, so that a second rejection is seen as one.
    """
    key = f"{bar.source}:{bar.symbol}:{bar.interval}:{bar.open_time}"
    seen = json.dumps({"v": BAR_VERSION, **bar.fields()})
    return _rejection(topic, key, seen, (reason, bar.source), now_ms)


def unreadable_record(topic: str, source: str, row: str, reason: str, now_ms: int) -> Record:
    """The message that says why nothing was made of a row that `source` sent."""
    return _rejection(topic, source, row, (reason, source), now_ms)


def _rejection(topic: str, key: str, seen: str, why: tuple[str, str], now_ms: int) -> Record:
    """The same fields as the stream's own rejections; topic, partition and offset are null, since
    what was `seen` never was on one."""
    reason, source = why
    value = {
        "reason": reason,
        "topic": None,
        "partition": None,
        "offset": None,
        "value_base64": base64.b64encode(seen[:KEPT_CHARACTERS].encode(errors="replace")).decode(),
        "source": source,
        "rejected_at": now_ms,
    }
    return Record(topic, key.encode(), json.dumps(value, separators=(",", ":")).encode())
