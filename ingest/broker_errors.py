"""What a failed call to Kafka means: wait and try again, or a person has to act."""

import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from kafka import KafkaAdminClient
from kafka.errors import AuthorizationError, KafkaError

from conf.errors import BrokerUnavailable, CandlecastError, ConfigurationError
from conf.kafka import Broker, KafkaConnection, connection_to, kafka_python_options, tls_context

# ApiVersions, version 0, of a client without a name: a broker answers it before any login.
HELLO: Final = struct.pack(">ihhih", 10, 18, 0, 0, -1)
PROBE_S: Final = 3.0


@contextmanager
def connecting(broker: Broker) -> Iterator[None]:
    """Raise one of our errors where kafka-python fails in the block, in which it connects.

    It raises the same time-out for a broker that is away and for one that refuses us. So a failure
    is followed by a look: does the broker answer before the login, and not after it?
    """
    try:
        yield
    except KafkaError as error:
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

    ConfigurationError where the user lacks rights, else BrokerUnavailable.
    """
    to = connection_to(broker)
    if isinstance(error, AuthorizationError):
        return ConfigurationError(
            f"Kafka at {to} does not let this user do what is needed ({error}): grant it "
            "Read, Write, Describe and Create on the topics of [kafka]"
        )
    return BrokerUnavailable(
        f"Kafka at {to} can't be used: {type(error).__name__}: {error} "
        f"(kafka.bootstrap_servers, kafka.security_protocol = {to.security_protocol})"
    )


def answers(to: KafkaConnection) -> bool:
    """Whether one of the bootstrap servers answers a client that has not logged in.

    Raises ConfigurationError where one does not take our certificate, or we not its.
    """
    return any(_says_hello(to, server.strip()) for server in to.bootstrap_servers.split(","))


def _says_hello(to: KafkaConnection, server: str) -> bool:
    place = urlsplit(f"//{server}")
    try:
        with socket.create_connection((place.hostname or "", place.port), PROBE_S) as plain:
            if not to.encrypted:
                plain.sendall(HELLO)
                return bool(plain.recv(1))
            with tls_context(to).wrap_socket(plain, server_hostname=place.hostname) as encrypted:
                encrypted.sendall(HELLO)
                return bool(encrypted.recv(1))
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
