"""What can't be recovered from ends the stream and says what to do; doing it works."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from pyspark.errors import StreamingQueryException

from conf.errors import CandlecastError, ConfigurationError, DataLoss
from conf.sections import Warehouse, Window
from ingest.bar import Bar
from ingest.publish import BarPublisher
from ingest.topics import ensure_topics
from spark.errors import explain
from stream.query import checkpoint_dir
from tests.streams import RunningStream


def interrupted(stream: RunningStream, btc: list[Bar]) -> Path:
    """A stream that has written two micro-batches and was stopped; its checkpoint."""
    stream.publish(btc[:100])
    stream.publish(btc[100:120])
    stream.stop()
    stream.queries.clear()
    return Path(checkpoint_dir(stream.settings))


def error_after(stream: RunningStream, bars: list[Bar]) -> CandlecastError:
    """What the stream says when it is started again on more bars."""
    with pytest.raises(StreamingQueryException) as caught:
        stream.publish(bars)
    return explain(str(caught.value), checkpoint_dir(stream.settings))


def cut_offsets(checkpoint: Path) -> None:
    newest = max((checkpoint / "offsets").glob("[0-9]*"), key=lambda file: int(file.name))
    newest.write_text(newest.read_text()[:10])
    (newest.parent / f".{newest.name}.crc").unlink()


def cut_state(checkpoint: Path) -> None:
    for file in [*checkpoint.rglob("*.changelog"), *checkpoint.rglob("*.zip")]:
        file.write_bytes(file.read_bytes()[:5])
        (file.parent / f".{file.name}.crc").unlink()


def remove_state(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint / "state")


@pytest.mark.parametrize("damage", [cut_offsets, cut_state, remove_state])
def test_a_damaged_checkpoint_stops_and_a_new_one_heals(
    stream: RunningStream, btc: list[Bar], damage: Callable[[Path], None]
) -> None:
    checkpoint = interrupted(stream, btc)
    damage(checkpoint)
    error = error_after(stream, btc[120:])
    assert isinstance(error, DataLoss)
    assert "move it away and start again" in str(error)

    stream.queries.clear()
    checkpoint.rename(checkpoint.with_name("moved-away"))
    stream.process()
    predicted = stream.table("predictions").drop_duplicates(["as_of", "horizon"])
    assert len(predicted) == (len(btc) - 60) * 3


@pytest.mark.parametrize(("noted", "said"), [(True, "was made anew"), (False, "no longer holds")])
def test_a_topic_that_was_made_anew_is_not_taken_for_the_one_before(
    stream: RunningStream, btc: list[Bar], noted: bool, said: str
) -> None:
    checkpoint = interrupted(stream, btc)
    if not noted:
        (checkpoint / "topics.json").unlink()
    kafka = stream.settings.kafka
    with KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers) as admin:
        admin.delete_topics([kafka.bars_topic])
    ensure_topics(kafka.bootstrap_servers, {kafka.bars_topic: 2})
    with BarPublisher(kafka, kafka.bars_topic) as publisher:
        publisher.publish(btc[: 200 if noted else 5])
    with pytest.raises(DataLoss, match=said) as lost:
        stream.process()
    assert "move it away and start again" in str(lost.value)

    checkpoint.rename(checkpoint.with_name("moved-away"))
    stream.process()
    assert len(stream.table("bars")) == 120 + (200 if noted else 5)


def test_a_checkpoint_is_about_its_topics(stream: RunningStream, btc: list[Bar]) -> None:
    checkpoint = interrupted(stream, btc)
    (checkpoint / "topics.json").unlink()
    stream.publish(btc[120:125])
    assert stream.settings.kafka.bars_topic in (checkpoint / "topics.json").read_text()
    stream.stop()
    stream.queries.clear()
    kafka = stream.settings.kafka
    other = kafka.model_copy(update={"bars_topic": kafka.rejected_topic})
    stream.settings = stream.settings.model_copy(update={"kafka": other})
    with pytest.raises(ConfigurationError, match=r"restore kafka\.bars_topic"):
        stream.process()


def test_another_number_of_shards_is_refused_at_start(
    stream: RunningStream, btc: list[Bar]
) -> None:
    interrupted(stream, btc)
    stream.settings = stream.settings.model_copy(update={"window": Window(shards=3)})
    with pytest.raises(ConfigurationError, match="restore them"):
        stream.publish(btc[120:])


def test_a_checkpoint_of_another_version_is_refused_at_start_with_what_to_do(
    stream: RunningStream,
) -> None:
    checkpoint = Path(stream.settings.warehouse.checkpoint_dir)
    checkpoint.mkdir()
    of_version_4 = {**stream.settings.window.model_dump(), "news": False}
    (checkpoint / "window.json").write_text(json.dumps(of_version_4))
    with pytest.raises(DataLoss, match=r"version 4.* move it away and start again") as refused:
        stream.process()
    assert refused.value.exit_code == 65


def test_a_warehouse_that_cannot_be_written_stops_the_stream_and_loses_nothing(
    stream: RunningStream, btc: list[Bar], tmp_path: Path
) -> None:
    stream.publish(btc[:100])
    stream.stop()
    stream.queries.clear()
    good = stream.settings
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder is needed")
    broken = Warehouse(dir=str(blocked), checkpoint_dir=good.warehouse.checkpoint_dir)
    stream.settings = good.model_copy(update={"warehouse": broken})
    error_after(stream, btc[100:])

    stream.queries.clear()
    stream.settings = good
    stream.process()
    assert len(stream.table("predictions")) == (len(btc) - 60) * 3
