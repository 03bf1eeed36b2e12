"""What Kafka's answer means: wait, or a person has to act."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from kafka import errors as kafka_errors

from conf.errors import BrokerUnavailable, ConfigurationError
from conf.kafka import connection_to
from ingest import broker_errors
from ingest.broker_errors import connecting, unresolved, unusable

RESPONSE = (
    "[Error 38] InvalidReplicationFactorError: Request 'CreateTopicsRequest(version=7, topics=["
    "CreatableTopic(name='q', num_partitions=1)])' failed with response 'CreateTopicsResponse("
    "topics=[CreatableTopicResult(error_code=38, error_message='Replication factor: 3 larger than "
    "available brokers: 1.', num_partitions=-1)])'" + " and more" * 100
)


@pytest.mark.parametrize(
    "kind",
    [
        "InvalidReplicationFactorError",
        "PolicyViolationError",
        "TopicAuthorizationFailedError",
        "ClusterAuthorizationFailedError",
        "SaslAuthenticationFailedError",
        "UnsupportedSaslMechanismError",
        "InvalidTopicError",
        "InvalidConfigurationError",
        "MessageSizeTooLargeError",
        "UnsupportedVersionError",
    ],
)
def test_what_a_broker_would_refuse_again_is_for_a_person_in_one_short_line(kind: str) -> None:
    error = unusable("127.0.0.1:1", getattr(kafka_errors, kind)(RESPONSE))
    assert isinstance(error, ConfigurationError)
    assert "larger than available brokers: 1." in str(error)
    assert "and more" not in str(error)


@pytest.mark.parametrize(
    "kind",
    ["KafkaTimeoutError", "NotEnoughReplicasError", "KafkaConnectionError", "NotControllerError"],
)
def test_what_may_pass_is_tried_again(kind: str) -> None:
    error = unusable("127.0.0.1:1", getattr(kafka_errors, kind)("x" * 5000))
    assert isinstance(error, BrokerUnavailable)
    assert len(str(error)) < 500


def test_a_cluster_whose_brokers_have_not_all_begun_is_waited_for() -> None:
    said = RESPONSE.replace(
        "Replication factor: 3 larger than available brokers: 1.",
        "Unable to replicate the partition 1 time(s): All brokers are currently fenced.",
    )
    error = unusable("127.0.0.1:1", kafka_errors.InvalidReplicationFactorError(said))
    assert isinstance(error, BrokerUnavailable)


def test_an_error_of_the_network_is_an_outage_and_one_of_ours_is_not() -> None:
    with pytest.raises(BrokerUnavailable), connecting("127.0.0.1:1"):
        raise ConnectionResetError("reset")
    with pytest.raises(TypeError), connecting("127.0.0.1:1"):
        raise TypeError("ours")


def metadata(*hosts: bytes) -> bytes:
    body = struct.pack(">ii", 0, len(hosts))
    for node, host in enumerate(hosts):
        body += struct.pack(">ih", node, len(host)) + host + struct.pack(">ih", 9092, -1)
    return struct.pack(">i", len(body)) + body


@contextmanager
def broker_that_says(answer: bytes) -> Iterator[str]:
    """A server of one answer; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """One name resolves; no name server is asked."""
    monkeypatch.setattr(broker_errors, "_resolves", lambda address: address == "kafka-1:9092")


@pytest.mark.usefixtures("names")
def test_an_advertised_address_that_nobody_resolves_is_named() -> None:
    with broker_that_says(metadata(b"kafka-1", b"kafka-2")) as address:
        error = unusable(address, kafka_errors.KafkaTimeoutError("timed out"))
    assert "to use kafka-2:9092, which" in str(error)
    assert "advertised.listeners" in str(error)


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", metadata(b"kafka-1"), metadata(b"x")[:12]]
)
def test_a_broker_that_names_resolvable_addresses_or_is_none_is_asked_for_nothing(
    answer: bytes,
) -> None:
    with broker_that_says(answer) as address:
        assert unresolved(connection_to(address)) == []
