"""What a producer took back was never there."""

from kafka import KafkaProducer

from ingest.cursor import messages_since
from ingest.topics import ensure_topics
from jobs.machine.broker import EmbeddedBroker


def test_a_bar_of_an_aborted_transaction_is_not_on_the_topic(
    broker: EmbeddedBroker, topic_prefix: str
) -> None:
    ensure_topics(broker.connection, {topic_prefix: 1}, timeout_s=60)
    producer = KafkaProducer(
        bootstrap_servers=broker.bootstrap_servers, transactional_id=topic_prefix
    )
    producer.init_transactions()
    for value, ends in (
        (b"kept", producer.commit_transaction),
        (b"gone", producer.abort_transaction),
    ):
        producer.begin_transaction()
        producer.send(topic_prefix, value).get(60)
        ends()
    producer.close()
    assert list(messages_since(broker.connection, topic_prefix, 0)) == [b"kept"]
