"""What a failed call to Kafka means: wait and try again, or a person has to act."""

import re
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from kafka import KafkaAdminClient
from kafka import errors as kafka_errors
from kafka.errors import AuthorizationError, KafkaError

from conf.errors import BrokerUnavailable, CandlecastError, ConfigurationError
from conf.kafka import Broker, KafkaConnection, connection_to, kafka_python_options, tls_context

# ApiVersions, version 0, of a client without a name: a broker answers it before any login.
HELLO: Final = struct.pack(">ihhih", 10, 18, 0, 0, -1)
# Metadata, version 1, of no topic: who are the brokers?
ASK_BROKERS: Final = struct.pack(">ihhihi", 14, 3, 1, 0, -1, 0)
PROBE_S: Final = 3.0
# What a broker would refuse again, with what to do.
PERMANENT: Final[tuple[tuple[tuple[type[KafkaError], ...], str], ...]] = (
    (
        (AuthorizationError,),
        "grant this user Read, Write, Describe and Create on the topics of [kafka]",
    ),
    (
        (
            kafka_errors.SaslAuthenticationFailedError,
            kafka_errors.UnsupportedSaslMechanismError,
            kafka_errors.IllegalSaslStateError,
            kafka_errors.SecurityDisabledError,
        ),
        "check CANDLECAST_KAFKA__SASL_USERNAME, CANDLECAST_KAFKA__SASL_PASSWORD, "
        "kafka.security_protocol and kafka.sasl_mechanism",
    ),
    (
        (kafka_errors.InvalidReplicationFactorError,),
        "the broker's default.replication.factor asks for more brokers than there are: lower it, "
        "or make the topics of [kafka] by hand",
    ),
    (
        (kafka_errors.PolicyViolationError,),
        "its policy allows no such topic: make the topics of [kafka] by hand",
    ),
    (
        (
            kafka_errors.InvalidTopicError,
            kafka_errors.InvalidPartitionsError,
            kafka_errors.InvalidConfigurationError,
            kafka_errors.InvalidRequestError,
        ),
        "check the topics, kafka.partitions and kafka.retention_days",
    ),
    (
        (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError),
        "raise message.max.bytes of the broker, or max.message.bytes of the topic",
    ),
    (
        (
            kafka_errors.UnsupportedVersionError,
            kafka_errors.UnrecognizedBrokerVersion,
            kafka_errors.UnsupportedCodecError,
            kafka_errors.KafkaConfigurationError,
            kafka_errors.IllegalArgumentError,
        ),
        "client and broker do not fit: check the broker's version and [kafka]",
    ),
)

# What a broker says of brokers that have not reported to their controller yet.
STARTING: Final = "currently fenced"


@contextmanager
def connecting(broker: Broker) -> Iterator[None]:
    """Raise one of our errors where kafka-python fails in the block, in which it connects.

    It raises the same time-out for a broker that is away and for one that refuses us. So a failure
    is followed by a look: does the broker answer before the login, and not after it?
    """
    try:
        yield
    except (KafkaError, OSError) as error:
        to = connection_to(broker)
        answered = to.security_protocol != "PLAINTEXT" and answers(to)
        if answered and to.asks_for_user and not _lets_in(broker):
            raise ConfigurationError(
                f"Kafka at {to} refuses user or password: check CANDLECAST_KAFKA__SASL_USERNAME, "
                "CANDLECAST_KAFKA__SASL_PASSWORD and the setting "
                f"kafka.sasl_mechanism = {to.sasl_mechanism}"
            ) from error
        raise unusable(broker, error) from error


def unusable(broker: Broker, error: BaseException) -> CandlecastError:
    """The error of ours for `error`, with what to do.

    ConfigurationError where the broker would refuse the same again, else BrokerUnavailable.
    """
    to = connection_to(broker)
    for kinds, what_to_do in PERMANENT:
        if isinstance(error, kinds) and STARTING not in str(error):
            return ConfigurationError(f"Kafka at {to} refuses: {_brief(error)}: {what_to_do}")
    nobody = unresolved(to)
    if nobody:
        return BrokerUnavailable(
            f"Kafka at {to} answers, and tells its clients to use {', '.join(nobody)}, which this "
            "machine can't resolve: change advertised.listeners of the broker, or this machine's "
            "names"
        )
    return BrokerUnavailable(
        f"Kafka at {to} can't be used: {_brief(error)} "
        f"(kafka.bootstrap_servers, kafka.security_protocol = {to.security_protocol})"
    )


def _brief(error: BaseException) -> str:
    """The kind of an error, and what the broker says of it: kafka-python adds both messages."""
    found = re.search(r"error_message='(.+?)'[,)]", str(error))
    text = found[1] if found else str(error).partition(": Request ")[0][:200]
    return f"{type(error).__name__}: {text}"


def unresolved(to: KafkaConnection) -> list[str]:
    """The brokers' addresses, as a bootstrap server tells them, that this machine can't resolve.

    Nothing where no server tells, or only to one who has logged in.
    """
    for server in to.bootstrap_servers.split(","):
        try:
            with _connected(to, server.strip()) as connection:
                connection.sendall(ASK_BROKERS)
                return [at for at in _brokers(connection) if not _resolves(at)]
        except (OSError, struct.error, ValueError):
            continue
    return []


def _brokers(connection: socket.socket) -> list[str]:
    """The hosts in the answer to ASK_BROKERS."""
    with connection.makefile("rb") as answer:

        def read(form: str) -> int:
            return int(struct.unpack(form, answer.read(struct.calcsize(form)))[0])

        read(">q")  # length and correlation id
        found = []
        for _ in range(min(read(">i"), 1000)):
            read(">i")  # node id
            host = answer.read(read(">h")).decode()
            found.append(f"{host}:{read('>i')}")
            answer.read(max(read(">h"), 0))  # rack
        return found


def _resolves(address: str) -> bool:
    try:
        return bool(socket.getaddrinfo(address.rpartition(":")[0], None))
    except OSError:
        return False


def answers(to: KafkaConnection) -> bool:
    """Whether one of the bootstrap servers answers a client that has not logged in.

    Raises ConfigurationError where one does not take our certificate, or we not its.
    """
    return any(_says_hello(to, server.strip()) for server in to.bootstrap_servers.split(","))


@contextmanager
def _connected(to: KafkaConnection, server: str) -> Iterator[socket.socket]:
    place = urlsplit(f"//{server}")
    with socket.create_connection((place.hostname or "", place.port), PROBE_S) as plain:
        if not to.encrypted:
            yield plain
            return
        with tls_context(to).wrap_socket(plain, server_hostname=place.hostname) as encrypted:
            yield encrypted


def _says_hello(to: KafkaConnection, server: str) -> bool:
    try:
        with _connected(to, server) as connection:
            connection.sendall(HELLO)
            return bool(connection.recv(1))
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        return False  # a broker that ends hangs up as well
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"no TLS connection with Kafka at {to} ({error}): check kafka.ssl_cafile, "
            "kafka.ssl_certfile and kafka.security_protocol"
        ) from error
    except OSError:
        return False


def _lets_in(broker: Broker) -> bool:
    """Whether a client can log in now: a broker may have come back since a failure."""
    try:
        options = kafka_python_options(broker)
        KafkaAdminClient(**options, bootstrap_timeout_ms=int(PROBE_S * 1000)).close()
    except KafkaError:
        return False
    return True
