"""Topics as the broker has them: whether they are there, their identity, how far they reach."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import TopicAlreadyExistsError

from conf.kafka import Broker, kafka_python_options
from ingest.broker_errors import connecting

_NONE: Final = str(UUID(int=0))
# For the broker to answer at all.
ANSWER_S: Final = 5.0


@dataclass(frozen=True)
class TopicState:
    """A topic of this moment.

    identity: the broker's; another topic of the same name has another one. "" where the broker is
    too old to have any. ends: the offset of the next message of each partition.
    """

    identity: str
    ends: dict[int, int]


def topic_states(broker: Broker, topics: Iterable[str]) -> dict[str, TopicState]:
    """The state of each topic that is there.

    Raises BrokerUnavailable, and ConfigurationError where the broker refuses us.
    """
    with _admin(broker) as admin:
        found = {t["name"]: t for t in admin.describe_topics(list(topics)) if not t["error_code"]}
        partitions = [
            TopicPartition(name, partition["partition_index"])
            for name, topic in found.items()
            for partition in topic["partitions"]
        ]
        ends = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST))
    return {
        name: TopicState(
            str(topic.get("topic_id") or "").replace(_NONE, ""),
            {at.partition: end.offset for at, end in ends.items() if at.topic == name},
        )
        for name, topic in found.items()
    }


def ensure_topics(
    broker: Broker,
    partitions: Mapping[str, int],
    *,
    retention_s: Mapping[str, float] | None = None,
    timeout_s: float = ANSWER_S,
) -> list[str]:
    """Create each topic of `partitions` (name to number of partitions) that is missing.

    Returns the names of those created. `retention_s` says by topic how long records stay, for ever
    by default: backfilled bars are old news to Kafka's default of a week. The broker has
    `timeout_s` to answer at all.

    Raises BrokerUnavailable, and ConfigurationError where the broker refuses us.
    """
    with _admin(broker, timeout_s) as admin:
        missing = sorted(set(partitions) - set(admin.list_topics()))
        for topic in missing:
            kept_s = (retention_s or {}).get(topic)
            retention_ms = -1 if kept_s is None else int(kept_s * 1000)
            options = {
                "num_partitions": partitions[topic],
                "configs": {"retention.ms": str(retention_ms)},
            }
            with suppress(TopicAlreadyExistsError):  # someone else was faster
                admin.create_topics({topic: options}, wait_for_metadata=True)
    return missing


def check_broker(broker: Broker, topic: str, timeout_s: float = ANSWER_S) -> str:
    """Ask the broker once whether `topic` is there, and say so.

    Raises BrokerUnavailable, and ConfigurationError where the broker refuses us.
    """
    with _admin(broker, timeout_s) as admin:
        there = topic in admin.list_topics()
    return f"broker={broker} topic={topic} {'exists' if there else 'will be created'}"


@contextmanager
def _admin(broker: Broker, timeout_s: float = ANSWER_S) -> Iterator[Any]:
    options = kafka_python_options(broker)
    timeout_ms = int(timeout_s * 1000)
    with connecting(broker), KafkaAdminClient(**options, bootstrap_timeout_ms=timeout_ms) as admin:
        yield admin
