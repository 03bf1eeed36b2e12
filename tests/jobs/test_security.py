"""A broker that asks for user, password and certificate; and no secret shows up anywhere."""

import json
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from pydantic import SecretStr
from pyspark.sql import SparkSession

from conf.errors import BrokerUnavailable, ConfigurationError
from conf.kafka import KafkaConnection
from conf.ports import free_port
from conf.sections import Registry as RegistrySettings
from conf.settings import Settings, load_settings
from dashboard.newest import NewestMessages
from ingest.bar import Bar
from ingest.cursor import bars_since
from ingest.publish import BarPublisher
from ingest.topics import check_broker, ensure_topics
from jobs import predict_stream
from jobs.demo.report import parquet_rows
from jobs.machine.broker import EmbeddedBroker, Secured
from jobs.machine.processes import Program, spark_submit, wait_until
from stream.query import start_query
from tests.jobs.certificates import Party, make_party
from tests.predictions import assert_same_predictions, batch_predictions
from tests.streams import environment, stream_settings

USER = "candlecast-user-7c1f"
# What quoting may get wrong, around a word to look for.
SECRET = "hunter-5b2e91"
PASSWORD = f"""p"'\\{SECRET}\\" ;$ü"""
TIMEOUT_S = 120


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Party]:
    folder = tmp_path_factory.mktemp("certificates")
    return {name: make_party(folder, name) for name in ("kafka", "us", "stranger")}


@pytest.fixture(scope="module")
def secure_broker(
    tmp_path_factory: pytest.TempPathFactory, parties: dict[str, Party]
) -> Iterator[EmbeddedBroker]:
    kafka, us = parties["kafka"], parties["us"]
    client = KafkaConnection.model_validate(
        {
            "security_protocol": "SASL_SSL",
            "sasl_username": USER,
            "sasl_password": PASSWORD,
            "ssl_cafile": str(kafka.certificate),
            "ssl_certfile": str(us.certificate),
            "ssl_keyfile": str(us.key),
        }
    )
    quoted = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
    plain = (
        "org.apache.kafka.common.security.plain.PlainLoginModule required "
        f'username="{USER}" password="{quoted}" user_{USER}="{quoted}";'
    )
    scram = (
        "org.apache.kafka.common.security.scram.ScramLoginModule required "
        f'username="{USER}" password="{quoted}";'
    )
    server = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(joined(kafka)),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(trusted(kafka, us)),
        "listener.name.sasl_ssl.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": escaped(plain),
        "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config": escaped(scram),
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": escaped(scram),
    }
    users = [f"SCRAM-SHA-{n}=[name={USER},password={PASSWORD}]" for n in (256, 512)]
    with EmbeddedBroker(
        tmp_path_factory.mktemp("secure"), secured=Secured(client, server, users)
    ) as running:
        yield running


def joined(party: Party) -> Path:
    """Key and certificate in one file, as Kafka wants them."""
    file = party.key.with_suffix(".keystore")
    file.write_bytes(party.key.read_bytes() + party.certificate.read_bytes())
    return file


def trusted(*parties: Party) -> Path:
    file = parties[0].key.with_suffix(".truststore")
    file.write_bytes(b"".join(party.certificate.read_bytes() for party in parties))
    return file


def escaped(value: str) -> str:
    """A value of a Java properties file."""
    quoted = value.replace("\\", "\\\\")
    return "".join(c if c.isascii() else f"\\u{ord(c):04x}" for c in quoted)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_bars_go_in_and_come_back_by_every_mechanism(
    secure_broker: EmbeddedBroker, topic_prefix: str, btc: list[Bar], mechanism: str
) -> None:
    broker = secure_broker.connection.model_copy(update={"sasl_mechanism": mechanism})
    ensure_topics(broker, {topic_prefix: 1})
    with BarPublisher(broker, topic_prefix) as publisher:
        publisher.publish(btc[:20])
    assert list(bars_since(broker, topic_prefix, 0)) == btc[:20]


def test_a_wrong_password_is_for_a_person_and_says_where_it_comes_from(
    secure_broker: EmbeddedBroker, topic_prefix: str, btc: list[Bar]
) -> None:
    wrong = with_wrong_password(secure_broker.connection)
    for call in (
        lambda: check_broker(wrong, topic_prefix, timeout_s=1),
        lambda: BarPublisher(wrong, topic_prefix, timeout_s=1).publish(btc[:1]),
        lambda: next(bars_since(wrong, topic_prefix, 0)),
    ):
        with pytest.raises(ConfigurationError, match="CANDLECAST_KAFKA__SASL_PASSWORD") as caught:
            call()
        assert USER not in str(caught.value)


def with_wrong_password(connection: KafkaConnection) -> KafkaConnection:
    return connection.model_copy(update={"sasl_password": SecretStr("wrong")})


def test_a_broker_that_is_not_trusted_is_for_a_person(
    secure_broker: EmbeddedBroker, parties: dict[str, Party]
) -> None:
    stranger = str(parties["stranger"].certificate)
    broker = secure_broker.connection.model_copy(update={"ssl_cafile": stranger})
    with pytest.raises(ConfigurationError, match=r"verify failed.*kafka\.ssl_cafile"):
        check_broker(broker, "bars", timeout_s=1)


def test_a_missing_certificate_of_ours_is_for_a_person(secure_broker: EmbeddedBroker) -> None:
    none = {"ssl_certfile": None, "ssl_keyfile": None}
    broker = secure_broker.connection.model_copy(update=none)
    with pytest.raises(ConfigurationError, match=r"certificate.*kafka\.ssl_certfile"):
        check_broker(broker, "bars", timeout_s=1)


def test_a_plain_client_is_told_about_the_protocol(secure_broker: EmbeddedBroker) -> None:
    with pytest.raises(BrokerUnavailable, match=r"kafka\.security_protocol = PLAINTEXT"):
        check_broker(secure_broker.bootstrap_servers, "bars", timeout_s=1)


def test_a_certificate_file_that_is_none_is_named(
    secure_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    broker = secure_broker.connection.model_copy(update={"ssl_cafile": str(tmp_path / "no.pem")})
    with pytest.raises(ConfigurationError, match=r"no\.pem"):
        check_broker(broker, "bars")


def test_a_wrong_password_ends_the_stream_for_a_person(
    spark: SparkSession,
    secure_broker: EmbeddedBroker,
    topic_prefix: str,
    tmp_path: Path,
    champion_registry: RegistrySettings,
) -> None:
    settings = stream_settings(secure_broker, topic_prefix, tmp_path, champion_registry)
    settings = settings.model_copy(update={"kafka": with_wrong_password(settings.kafka)})
    with pytest.raises(ConfigurationError, match="CANDLECAST_KAFKA__SASL_PASSWORD"):
        start_query(spark, settings)


def test_predictions_leave_a_secured_broker_and_no_secret_shows_up(
    secure_broker: EmbeddedBroker,
    topic_prefix: str,
    tmp_path: Path,
    champion_registry: RegistrySettings,
    btc: list[Bar],
    parties: dict[str, Party],
) -> None:
    settings = stream_settings(secure_broker, topic_prefix, tmp_path, champion_registry)
    kafka = settings.kafka
    with BarPublisher(kafka, kafka.bars_topic) as publisher:
        publisher.publish(btc)
    events, port = tmp_path / "events", free_port()
    events.mkdir()
    with submit(settings, tmp_path, logged_to(events, port)) as stream:
        warehouse = Path(settings.warehouse.dir)
        assert wait_until(
            lambda: parquet_rows(warehouse, "predictions") >= 3 * (len(btc) - 60),
            TIMEOUT_S,
            stream.check,
        )
        shown = pages(port)
        command_lines = read_command_lines()
        stream.stop()
    newest = NewestMessages(kafka, kafka.predictions_topic, kafka.rejected_topic).start()
    assert wait_until(lambda: len(newest.predictions("BTC-USDT", "1m")) >= 300, 20)
    newest.stop()
    assert_same_predictions(
        pd.read_parquet(warehouse / "predictions"), batch_predictions(btc, champion_registry)
    )
    written = [f.read_text(errors="replace") for f in tmp_path.rglob("*") if f.is_file()]
    assert any("SparkListenerSQLExecutionStart" in text for text in written)
    assert any("sasl.jaas.config" in text for text in [*shown, *written])
    secrets = (USER, SECRET, parties["us"].key.read_text().splitlines()[1])
    everything = [*shown, *written, command_lines, repr(settings), str(settings)]
    assert [s for s in secrets for text in everything if s in text] == []


def test_the_stream_ends_with_what_to_do_where_its_password_is_wrong(
    secure_broker: EmbeddedBroker,
    topic_prefix: str,
    tmp_path: Path,
    champion_registry: RegistrySettings,
) -> None:
    settings = stream_settings(secure_broker, topic_prefix, tmp_path, champion_registry)
    wrong = settings.model_copy(update={"kafka": with_wrong_password(settings.kafka)})
    with pytest.raises(ConfigurationError, match="CANDLECAST_KAFKA__SASL_PASSWORD"):
        predict_stream.run(wrong)


def submit(settings: Settings, folder: Path, options: Sequence[str]) -> Program:
    """The job as a person starts it: secrets in the environment, nothing on the command line."""
    kafka = settings.kafka
    names = ("security_protocol", "sasl_mechanism", "ssl_cafile", "ssl_certfile", "ssl_keyfile")
    given = {name: getattr(kafka, name) for name in names}
    given |= {"sasl_username": USER, "sasl_password": PASSWORD}
    env = {f"CANDLECAST_KAFKA__{name.upper()}": value for name, value in given.items()}
    env |= environment(settings)
    return spark_submit("jobs/predict_stream.py", env, folder / "stream.log", options)


def logged_to(events: Path, port: int) -> list[str]:
    """Spark says as much as it can: event log, UI, and a log of everything."""
    conf = {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": events.as_uri(),
        "spark.eventLog.compress": "false",  # or nobody could find anything in it
        "spark.ui.enabled": "true",
        "spark.ui.port": str(port),
        "spark.log.level": "INFO",
    }
    return [part for name, value in conf.items() for part in ("--conf", f"{name}={value}")]


def pages(port: int) -> list[str]:
    """The UI's environment page, its plans, and what its API tells of both."""
    address = f"http://127.0.0.1:{port}"
    app = json.loads(fetch(f"{address}/api/v1/applications"))[0]["id"]
    api = f"{address}/api/v1/applications/{app}"
    executions = json.loads(fetch(f"{api}/sql?details=true&planDescription=true&length=1000"))
    assert executions
    return [
        fetch(f"{address}/environment/"),
        fetch(f"{api}/environment"),
        fetch(f"{address}/StreamingQuery/"),
        json.dumps(executions),
        *[fetch(f"{address}/SQL/execution/?id={one['id']}") for one in executions],
    ]


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return str(answer.read().decode())


def read_command_lines() -> str:
    """Of every process that is ours to read; processes come and go."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(file.read_text(errors="replace"))
    assert any("predict_stream.py" in line for line in lines)
    return "".join(lines)


SASL = {
    "CANDLECAST_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
    "CANDLECAST_KAFKA__SASL_USERNAME": USER,
    "CANDLECAST_KAFKA__SASL_PASSWORD": SECRET,
}


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An environment to put settings into; they are read anew."""
    load_settings.cache_clear()
    yield monkeypatch
    load_settings.cache_clear()


def test_settings_show_no_secret(environ: pytest.MonkeyPatch) -> None:
    for name, value in SASL.items():
        environ.setenv(name, value)
    settings = load_settings()
    assert settings.kafka.sasl_password == SecretStr(SECRET)
    shown = f"{settings} {settings!r} {settings.kafka} {settings.model_dump_json()}"
    assert not any(secret in shown for secret in (USER, SECRET))


@pytest.mark.parametrize(
    "given",
    [
        {**SASL, "CANDLECAST_KAFKA__SASL_PASSWORT": SECRET},
        {**SASL, "CANDLECAST_KAFKA__SASL_USERNAME": ""},
        {"CANDLECAST_KAFKA": json.dumps({"sasl_password": [SECRET]})},
        {"CANDLECAST_KAFKA": f'{{"sasl_password": "{SECRET}'},
    ],
)
def test_a_wrong_setting_is_named_without_the_secret(
    environ: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    for name, value in given.items():
        environ.setenv(name, value)
    with pytest.raises(ConfigurationError, match="kafka") as caught:
        load_settings()
    assert SECRET not in f"{caught.value} {caught.value.__cause__}"


def test_a_secret_in_the_file_is_rejected(environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "candlecast.toml"
    file.write_text(f'[kafka]\nsasl_password = "{SECRET}"\n')
    environ.setenv("CANDLECAST_CONFIG", str(file))
    with pytest.raises(ConfigurationError, match="CANDLECAST_KAFKA__SASL_PASSWORD") as caught:
        load_settings()
    assert SECRET not in str(caught.value)
