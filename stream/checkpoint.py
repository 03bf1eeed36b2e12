"""What the query's checkpoint says, and what it must still be about when the query starts again."""

import json
import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from pyspark.sql import SparkSession

from conf.errors import ConfigurationError, DataLoss
from conf.events import event
from conf.kafka import Broker
from ingest.topics import TopicState, topic_states
from spark.errors import NEW_CHECKPOINT
from spark.files import Folder, read_text, write_text

log = logging.getLogger(__name__)

# Offsets by topic and partition.
Offsets = dict[str, dict[int, int]]
_LINES_BEFORE_OFFSETS: Final = 2


def begun_micro_batch(spark: SparkSession, checkpoint: str) -> int | None:
    """The micro-batch that was begun and not ended, which comes again; None where there is none."""
    begun = _newest(spark, f"{checkpoint}/offsets")
    return begun if begun is not None and begun != _newest(spark, f"{checkpoint}/commits") else None


def require_same_topics(
    spark: SparkSession, checkpoint: str, broker: Broker, topics: Iterable[str]
) -> None:
    """Note with a new checkpoint which topics it is about, by the broker's identity of each;
    compare an old one's note. A checkpoint without a note takes the identities up.

    A topic of the same name that was made anew has other bars at the same offsets, and they would
    be passed over in silence. Raises DataLoss where one was, or ends before the checkpoint, and
    ConfigurationError where the checkpoint is about others.
    """
    note = f"{checkpoint}/topics.json"
    states = topic_states(broker, topics)
    noted = _noted_topics(spark, note)
    for topic, state in states.items():
        _require_same(topic, state, noted.get(topic, ""), checkpoint)
    for topic, offsets in _offsets(spark, checkpoint).items():
        if topic not in states:
            raise ConfigurationError(
                f"the checkpoint {checkpoint} is about the topic {topic}, the settings name "
                f"{', '.join(states)}: restore kafka.bars_topic and kafka.news_topic, or set "
                "another warehouse.checkpoint_dir"
            )
        _require_there(topic, states[topic], offsets, checkpoint)
    identities = {topic: state.identity for topic, state in states.items()}
    if noted != identities:
        write_text(spark, note, json.dumps(identities))


def _require_same(topic: str, state: TopicState, noted: str, checkpoint: str) -> None:
    if noted and state.identity and noted != state.identity:
        raise DataLoss(
            f"the topic {topic} was made anew: the checkpoint is about {noted}, the broker has "
            f"{state.identity}: {NEW_CHECKPOINT.format(checkpoint_dir=checkpoint)}"
        )


def _require_there(topic: str, state: TopicState, offsets: dict[int, int], checkpoint: str) -> None:
    for partition, offset in offsets.items():
        end = state.ends.get(partition, 0)
        if end < offset:
            raise DataLoss(
                f"the topic {topic} no longer holds the bars at which the checkpoint stands: "
                f"partition {partition} ends at {end}, the checkpoint is at {offset} (made anew, "
                f"or its end was lost): {NEW_CHECKPOINT.format(checkpoint_dir=checkpoint)}"
            )


def _noted_topics(spark: SparkSession, note: str) -> dict[str, str]:
    """Identities by topic; none where the note is damaged, as of a checkpoint without one."""
    try:
        found = json.loads(read_text(spark, note) or "{}")
        return {str(topic): str(identity) for topic, identity in found.items()}
    except (OSError, ValueError, AttributeError) as error:
        event(log, "state_unreadable", level=logging.WARNING, file=note, reason=error)
        return {}


def _offsets(spark: SparkSession, checkpoint: str) -> Offsets:
    """Where the checkpoint stands; nothing where it is new, or damaged, which Spark finds out."""
    begun = _newest(spark, f"{checkpoint}/offsets")
    found: Offsets = {}
    with suppress(OSError, ValueError, AttributeError, TypeError):
        text = None if begun is None else read_text(spark, f"{checkpoint}/offsets/{begun}")
        for line in (text or "").splitlines()[_LINES_BEFORE_OFFSETS:]:
            for topic, offsets in json.loads(line).items():
                found[topic] = {int(part): int(offset) for part, offset in offsets.items()}
    return found


def _newest(spark: SparkSession, folder: str) -> int | None:
    return max(
        (int(name) for name in Folder(spark, folder).names() if name.isdigit()), default=None
    )
