"""Topics as the broker knows them: by identity, and how far they reach."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec

from conf.kafka import Broker, kafka_python_options
from ingest.broker_errors import connecting

_NONE: Final = str(UUID(int=0))


@dataclass(frozen=True)
class TopicState:
    """A topic of this moment.

    identity: the broker's; another topic of the same name has another one. "" where the broker is
    too old to have any. ends: the offset of the next message of each partition.
    """

    identity: str
    ends: dict[int, int]


def topic_states(
    broker: Broker, topics: Iterable[str], timeout_s: float = 5.0
) -> dict[str, TopicState]:
    """The state of each topic that is there.

    Raises BrokerUnavailable, and ConfigurationError where the broker refuses us.
    """
    options = kafka_python_options(broker)
    timeout_ms = int(timeout_s * 1000)
    with connecting(broker), KafkaAdminClient(**options, bootstrap_timeout_ms=timeout_ms) as admin:
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
