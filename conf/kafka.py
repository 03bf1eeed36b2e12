"""How Kafka is reached, as settings and as the options of both clients: kafka-python and Spark."""

import re
import ssl
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import SecretStr, field_validator, model_validator

from conf.errors import ConfigurationError
from conf.section import SHIPPED, Section

LOGIN_MODULES: Final = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}


_SERVER: Final = re.compile(r"(?:[\w.-]+|\[[\w:.%]+\]):(\d{1,5})", re.ASCII)


class KafkaConnection(Section):
    """Where the broker is, and how a client proves who it is.

    security_protocol: SSL and SASL_SSL encrypt, SASL_PLAINTEXT and SASL_SSL ask for a user.
    ssl_cafile: the authority that signed the broker's certificate, a PEM file; without one, those
    that this machine trusts. ssl_certfile, ssl_keyfile: the client's own certificate and its key,
    where the broker asks for one: PEM files, the key as PKCS #8 without a password. User and
    password come from the environment only. Printed, it is the address.
    """

    table = "kafka"

    bootstrap_servers: str = SHIPPED
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = SHIPPED
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = SHIPPED
    sasl_username: SecretStr | None = None
    sasl_password: SecretStr | None = None
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None

    def __str__(self) -> str:
        return self.bootstrap_servers

    @property
    def encrypted(self) -> bool:
        """Whether the connection is TLS."""
        return self.security_protocol.endswith("SSL")

    @property
    def asks_for_user(self) -> bool:
        """Whether the broker asks for user and password."""
        return self.security_protocol.startswith("SASL")

    @field_validator("bootstrap_servers")
    @classmethod
    def _addresses(cls, servers: str) -> str:
        found = [_SERVER.fullmatch(server.strip()) for server in servers.split(",")]
        if not all(one and 0 < int(one[1]) < 65_536 for one in found):
            raise ValueError(f"must be HOST:PORT, or several with commas between, not {servers!r}")
        return servers

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.asks_for_user and not (self.sasl_username and self.sasl_password):
            raise ValueError(
                f"security_protocol {self.security_protocol} needs a user and a password: set "
                "CANDLECAST_KAFKA__SASL_USERNAME and CANDLECAST_KAFKA__SASL_PASSWORD"
            )
        if bool(self.ssl_certfile) != bool(self.ssl_keyfile):
            raise ValueError("ssl_certfile and ssl_keyfile are needed together")
        return self


# A plain address is a broker that is open to everyone.
Broker = KafkaConnection | str


def connection_to(broker: Broker) -> KafkaConnection:
    """The connection that `broker` stands for.

    >>> connection_to("localhost:9092").security_protocol
    'PLAINTEXT'
    """
    return KafkaConnection(bootstrap_servers=broker) if isinstance(broker, str) else broker


def kafka_python_options(broker: Broker) -> dict[str, Any]:
    """What kafka-python's producers, consumers and admins are given.

    Raises ConfigurationError where a certificate or key can't be read.

    >>> kafka_python_options("localhost:9092")
    {'bootstrap_servers': 'localhost:9092', 'security_protocol': 'PLAINTEXT'}
    """
    to = connection_to(broker)
    options: dict[str, Any] = {
        "bootstrap_servers": to.bootstrap_servers,
        "security_protocol": to.security_protocol,
    }
    if to.encrypted:
        options["ssl_context"] = tls_context(to)
    if to.asks_for_user:
        options["sasl_mechanism"] = to.sasl_mechanism
        options["sasl_plain_username"] = _plain(to.sasl_username)
        options["sasl_plain_password"] = _plain(to.sasl_password)
    return options


def spark_options(broker: Broker) -> dict[str, str]:
    """What Spark's Kafka source and sink are given.

    Certificates travel as text, so that no executor needs a file. Raises ConfigurationError where
    one can't be read.

    >>> spark_options("localhost:9092")
    {'kafka.bootstrap.servers': 'localhost:9092', 'kafka.security.protocol': 'PLAINTEXT'}
    """
    to = connection_to(broker)
    options = {
        "bootstrap.servers": to.bootstrap_servers,
        "security.protocol": to.security_protocol,
    }
    if to.encrypted and to.ssl_cafile:
        options["ssl.truststore.type"] = "PEM"
        options["ssl.truststore.certificates"] = _read("ssl_cafile", to.ssl_cafile)
    if to.encrypted and to.ssl_certfile and to.ssl_keyfile:
        options["ssl.keystore.type"] = "PEM"
        options["ssl.keystore.certificate.chain"] = _read("ssl_certfile", to.ssl_certfile)
        options["ssl.keystore.key"] = _read("ssl_keyfile", to.ssl_keyfile)
    if to.asks_for_user:
        options["sasl.mechanism"] = to.sasl_mechanism
        options["sasl.jaas.config"] = jaas_config(to)
    return {f"kafka.{name}": value for name, value in options.items()}


def tls_context(to: KafkaConnection) -> ssl.SSLContext:
    """Python's own TLS settings; raises ConfigurationError where a file can't be read."""
    try:
        context = ssl.create_default_context(cafile=to.ssl_cafile)
        if to.ssl_certfile:
            # Without a password, even an empty one, OpenSSL would ask at the terminal for one.
            context.load_cert_chain(to.ssl_certfile, to.ssl_keyfile, password="")
    except (OSError, ValueError) as error:
        files = (to.ssl_cafile, to.ssl_certfile, to.ssl_keyfile)
        raise ConfigurationError(
            f"kafka.ssl_cafile, ssl_certfile, ssl_keyfile = {', '.join(f or '-' for f in files)} "
            f"can't be used: {error}"
        ) from error
    return context


def jaas_config(to: KafkaConnection) -> str:
    """User and password as Kafka's Java client wants them.

    >>> ann = KafkaConnection(sasl_username="ann", sasl_password="secret", sasl_mechanism="PLAIN")
    >>> jaas_config(ann).removeprefix("org.apache.kafka.common.security.")
    'plain.PlainLoginModule required username="ann" password="secret";'
    """
    user, password = (
        _plain(secret).replace("\\", "\\\\").replace('"', '\\"')
        for secret in (to.sasl_username, to.sasl_password)
    )
    module = LOGIN_MODULES[to.sasl_mechanism]
    return f'{module} required username="{user}" password="{password}";'


def _plain(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""


def _read(setting: str, file: str) -> str:
    try:
        return Path(file).read_text()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"kafka.{setting} = {file} can't be read: {error}") from error
