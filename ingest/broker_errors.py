"""What a failed call to Kafka means: wait and try again, or a person has to act."""

import socket
import ssl
from typing import Final

from kafka.errors import (
    AuthorizationError,
    SaslAuthenticationFailedError,
    UnsupportedSaslMechanismError,
)

from conf.errors import BrokerUnavailable, CandlecastError, ConfigurationError
from conf.kafka import Broker, KafkaConnection, connection_to, tls_context

PROBE_TIMEOUT_S: Final = 3.0


def unusable(broker: Broker, error: BaseException) -> CandlecastError:
    """The error of ours for `error`, with what to do about it.

    ConfigurationError where Kafka refuses user, rights or certificate, else BrokerUnavailable.
    """
    to = connection_to(broker)
    if isinstance(error, SaslAuthenticationFailedError | UnsupportedSaslMechanismError):
        return ConfigurationError(
            f"Kafka at {to} refuses user or password ({error}): check "
            "CANDLECAST_KAFKA__SASL_USERNAME, CANDLECAST_KAFKA__SASL_PASSWORD and the setting "
            f"kafka.sasl_mechanism = {to.sasl_mechanism}"
        )
    if isinstance(error, AuthorizationError):
        return ConfigurationError(
            f"Kafka at {to} does not let this user do what is needed ({error}): grant it Read, "
            "Write, Describe and Create on the topics of [kafka], and IdempotentWrite"
        )
    reason = tls_refusal(to) if to.encrypted else None
    if reason:
        return ConfigurationError(
            f"no TLS connection with Kafka at {to} ({reason}): check kafka.ssl_cafile, "
            "kafka.ssl_certfile and kafka.security_protocol"
        )
    return BrokerUnavailable(
        f"Kafka at {to} can't be used: {type(error).__name__}: {error} "
        f"(kafka.bootstrap_servers, kafka.security_protocol = {to.security_protocol})"
    )


def tls_refusal(to: KafkaConnection) -> str | None:
    """Why no TLS connection comes about, or None where one does or nothing answers.

    kafka-python says only that it found no broker: what TLS has against it stands in its log.
    """
    host, _, port = to.bootstrap_servers.split(",")[0].strip().rpartition(":")
    try:
        with socket.create_connection((host, int(port)), PROBE_TIMEOUT_S) as plain:
            plain.settimeout(PROBE_TIMEOUT_S)
            with tls_context(to).wrap_socket(plain, server_hostname=host.strip("[]")):
                return None
    except ssl.SSLError as error:
        return str(error)
    except (OSError, ValueError):
        return None
