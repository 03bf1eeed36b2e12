"""What a failed call to Kafka means: wait and try again, or a person has to act."""

import logging
import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from kafka.errors import (
    AuthorizationError,
    KafkaError,
    KafkaTimeoutError,
    RequestTimedOutError,
    SaslAuthenticationFailedError,
    UnsupportedSaslMechanismError,
)

from conf.errors import BrokerUnavailable, CandlecastError, ConfigurationError
from conf.kafka import Broker, KafkaConnection, connection_to

HUNG_UP: Final = "socket disconnected"


class LoggedReasons(logging.Handler):
    """The errors that kafka-python logs.

    It raises only that it found no broker; that the broker refused us stands in its log alone.
    A client logs from a thread of its own, so what threads of before say is another client's.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.reasons: list[BaseException] = []
        self._others = {*threading.enumerate()} - {threading.current_thread()}

    def emit(self, record: logging.LogRecord) -> None:
        """Called by `logging`, possibly from the client's own thread."""
        if threading.current_thread() in self._others:
            return
        arguments = record.args if isinstance(record.args, tuple) else ()
        self.reasons += [one for one in arguments if isinstance(one, BaseException)]


@contextmanager
def connecting(broker: Broker) -> Iterator[None]:
    """Raise one of our errors where kafka-python fails in the block, in which it connects."""
    seen = LoggedReasons()
    logger = logging.getLogger("kafka.net")
    logger.addHandler(seen)
    try:
        yield
    except KafkaError as error:
        raise unusable(broker, error, seen.reasons) from error
    finally:
        logger.removeHandler(seen)


def unusable(
    broker: Broker, error: BaseException, reasons: Iterable[BaseException] = ()
) -> CandlecastError:
    """The error of ours for `error` and what led to it, with what to do.

    ConfigurationError where Kafka refuses user, rights or certificate, else BrokerUnavailable.
    """
    to = connection_to(broker)
    reasons = list(reasons)
    for reason in (error, *reasons):
        if isinstance(reason, SaslAuthenticationFailedError | UnsupportedSaslMechanismError):
            return login_refused(to, str(reason))
        if isinstance(reason, AuthorizationError):
            return ConfigurationError(
                f"Kafka at {to} does not let this user do what is needed ({reason}): grant it "
                "Read, Write, Describe and Create on the topics of [kafka]"
            )
        if isinstance(reason, ssl.SSLError) or "[SSL" in str(reason):
            return ConfigurationError(
                f"no TLS connection with Kafka at {to} ({reason}): check kafka.ssl_cafile, "
                "kafka.ssl_certfile and kafka.security_protocol"
            )
    # The refusal often gets lost: kafka-python drops what arrives together with the end of the
    # connection. A broker that is merely away mostly refuses connections, or lets them time out.
    others = [
        one for one in reasons if not isinstance(one, KafkaTimeoutError | RequestTimedOutError)
    ]
    hung_up = sum(HUNG_UP in str(one) for one in others)
    if to.asks_for_user and 2 * hung_up > len(others):
        return login_refused(to, "it hangs up while we log in")
    return BrokerUnavailable(
        f"Kafka at {to} can't be used: {type(error).__name__}: {error} "
        f"(kafka.bootstrap_servers, kafka.security_protocol = {to.security_protocol})"
    )


def login_refused(to: KafkaConnection, reason: str) -> ConfigurationError:
    """What to do where the broker does not take user and password."""
    return ConfigurationError(
        f"Kafka at {to} refuses user or password ({reason}): check "
        "CANDLECAST_KAFKA__SASL_USERNAME, CANDLECAST_KAFKA__SASL_PASSWORD and the setting "
        f"kafka.sasl_mechanism = {to.sasl_mechanism}"
    )
