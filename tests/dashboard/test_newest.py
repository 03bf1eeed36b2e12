"""The reader of the topics: one bad record costs itself alone, and nothing is sent twice."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import KafkaConnectionError

import dashboard.newest
from conf.errors import MalformedRecord
from conf.sections import Kafka
from dashboard.newest import NewestMessages
from dashboard.records import MAX_TEXT, prediction, rejection
from ingest.topics import ensure_topics
from jobs.machine.broker import EmbeddedBroker
from jobs.machine.processes import wait_until
from store.schema import PREDICTIONS, SMALL, TIME
from tests.dashboard.poison import GOOD, NO_PREDICTIONS, NO_REJECTIONS, NOW_MS, changed, message

WAIT_S = 20


@pytest.mark.parametrize("name", NO_PREDICTIONS)
def test_what_is_no_prediction_is_refused_with_a_reason(name: str) -> None:
    with pytest.raises(MalformedRecord, match=r"\w+ \w+"):
        prediction(NO_PREDICTIONS[name], NOW_MS)


@pytest.mark.parametrize("name", NO_REJECTIONS)
def test_what_is_no_rejection_is_refused_with_a_reason(name: str) -> None:
    with pytest.raises(MalformedRecord, match=r"\w+ \w+"):
        rejection(NO_REJECTIONS[name])


def test_a_prediction_keeps_the_columns_of_its_table_and_no_others() -> None:
    assert prediction(changed(note="x" * 1_000), NOW_MS) == GOOD


@pytest.mark.parametrize("name", sorted(PREDICTIONS.bounds))
def test_the_topic_has_the_bounds_of_the_table(name: str) -> None:
    low, high = PREDICTIONS.bounds[name]
    span = PREDICTIONS.columns[name] in (TIME, SMALL)
    for value in (low - 1 if span else low - abs(low) / 2 - 1e-13, high + 1 if span else high * 2):
        with pytest.raises(MalformedRecord, match=f"{name} must be"):
            prediction(changed(**{name: value}), NOW_MS)


def test_a_reason_is_one_line_of_bounded_length() -> None:
    found = rejection(json.dumps({"reason": "a\nb\x1b[31m" + "c" * 5_000}).encode())
    assert found.startswith("a b [31mccc")
    assert len(found) == MAX_TEXT


@pytest.fixture
def kafka(broker: EmbeddedBroker, topic_prefix: str) -> Kafka:
    names = {"predictions_topic": topic_prefix, "rejected_topic": f"{topic_prefix}.rejected"}
    return Kafka(bootstrap_servers=broker.bootstrap_servers, **names)


@pytest.fixture
def reader(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> Iterator[NewestMessages]:
    monkeypatch.setattr(dashboard.newest, "RETRY_S", 0.05)
    monkeypatch.setattr(dashboard.newest, "POLL_MS", 20)
    running = NewestMessages(kafka, kafka.predictions_topic, kafka.rejected_topic)
    yield running
    running.stop()


def send(kafka: Kafka, topic: str, values: list[bytes | None]) -> None:
    with KafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
        for value in values:
            producer.send(topic, value=value, key=b"k")
        producer.flush(WAIT_S)


def test_bad_records_are_counted_and_the_good_ones_around_them_served(
    kafka: Kafka, reader: NewestMessages
) -> None:
    bad, no_reasons = list(NO_PREDICTIONS.values()), list(NO_REJECTIONS.values())
    ensure_topics(kafka, {kafka.predictions_topic: 1, kafka.rejected_topic: 1})
    send(kafka, kafka.predictions_topic, [changed(symbol="A-B"), *bad, message(GOOD)])
    send(kafka, kafka.rejected_topic, [*no_reasons, b'{"reason": "too late"}'])
    reader.start()
    assert wait_until(lambda: reader.reasons()["too late"] == 1, WAIT_S)
    assert wait_until(lambda: reader.series() == {("A-B", "1m"), ("BTC-USD", "1m")}, WAIT_S)
    assert sum(reader.passed_over().values()) == len(bad) + len(no_reasons)
    assert reader.state == "connected"


def test_a_lost_connection_repeats_no_prediction_and_loses_none(
    kafka: Kafka, reader: NewestMessages, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    losses = iter([False, False, True, False, True])

    class Losing(KafkaConsumer):  # type: ignore[misc]
        def poll(self, timeout_ms: int = 0) -> Any:
            found = super().poll(timeout_ms)
            if found and next(losses, False):
                raise KafkaConnectionError("gone, with what was fetched")
            return found

    monkeypatch.setattr(dashboard.newest, "KafkaConsumer", Losing)
    ensure_topics(kafka, {kafka.predictions_topic: 1})
    send(kafka, kafka.predictions_topic, [changed(batch_id=-0)])
    reader.follow(lambda row: seen.append(row["batch_id"]))
    reader.start()
    assert wait_until(lambda: len(reader.predictions("BTC-USD", "1m")) == 1, WAIT_S)
    for number in range(1, 6):
        send(kafka, kafka.predictions_topic, [changed(batch_id=number)])
        assert wait_until(lambda n=number: seen[-1:] == [n], WAIT_S)  # type: ignore[misc]
    assert seen == [1, 2, 3, 4, 5]
    assert len(reader.predictions("BTC-USD", "1m")) == 6


def test_a_fault_of_ours_is_seen_and_the_reader_goes_on(
    kafka: Kafka, reader: NewestMessages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(*_: Any) -> Any:
        raise AttributeError("a mistake in our code")

    ensure_topics(kafka, {kafka.predictions_topic: 1})
    send(kafka, kafka.predictions_topic, [message(GOOD)])
    with monkeypatch.context() as broken:
        broken.setattr(NewestMessages, "_seek", faulty)
        reader.start()
        assert wait_until(lambda: reader.state == "reader failed", WAIT_S)
    assert wait_until(lambda: reader.state == "connected", WAIT_S)
    assert wait_until(lambda: len(reader.predictions("BTC-USD", "1m")) == 1, WAIT_S)


def test_predictions_of_a_topic_that_is_made_later_are_new_to_a_follower(
    kafka: Kafka, reader: NewestMessages
) -> None:
    seen: list[Any] = []
    reader.follow(seen.append)
    reader.start()
    assert wait_until(lambda: reader.state == "no topic", WAIT_S)
    ensure_topics(kafka, {kafka.predictions_topic: 1})
    send(kafka, kafka.predictions_topic, [message(GOOD)])
    assert wait_until(lambda: seen == [GOOD], WAIT_S)


def test_names_of_series_that_someone_makes_up_do_not_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dashboard.newest, "KEPT", 100)
    reader = NewestMessages(Kafka(), "predictions", "bars.rejected")
    for number in range(1_000):
        reader.keep(prediction(changed(symbol=f"X{number}-USD"), NOW_MS), is_new=False)
    assert len(reader.series()) == 100
