"""A broker that goes away and comes back: bars wait, nothing is skipped."""

import gc
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from kafka import KafkaConsumer, TopicPartition

from conf.errors import BrokerUnavailable, ConfigurationError
from conf.kafka import KafkaConnection
from conf.ports import free_port
from ingest.bar import Bar
from ingest.publish import BarPublisher
from ingest.topics import check_broker, ensure_topics
from jobs.machine.broker import EmbeddedBroker
from tests.ingest.market_server import MarketServer, SimulatedClock
from tests.ingest.runs import MINUTE_MS, START_MS, Run, latest, truth

BAR = Bar("BTC-USD", "1m", 0, 1.0, 1.0, 1.0, 1.0, 0.0, None, "example", 0)


@pytest.fixture(scope="module")
def mortal_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(tmp_path_factory.mktemp("mortal")) as running:
        yield running


@pytest.fixture
def own_broker(mortal_broker: EmbeddedBroker) -> EmbeddedBroker:
    """A broker that a test may kill: no other test's."""
    return mortal_broker if mortal_broker.pid else mortal_broker.start()


def test_bars_wait_for_a_broker_that_is_down_and_none_is_skipped(
    own_broker: EmbeddedBroker, server: MarketServer, clock: SimulatedClock
) -> None:
    ensure_topics(own_broker.bootstrap_servers, {"bars": 4, "bars.rejected": 4})
    run = Run(server, clock, own_broker.bootstrap_servers, "bars", broker_timeout_s=1.0)
    down_at, up_at = START_MS + 3 * MINUTE_MS, START_MS + 20 * MINUTE_MS

    def outage(seconds: float) -> None:
        now_ms = clock.now_ms()
        if now_ms > down_at and own_broker.pid and not states:
            states.append("down")
            own_broker.kill()
        elif states == ["down"] and seconds < 20 and now_ms > down_at + 5 * MINUTE_MS:
            states.append("up")
            own_broker.start()
        elif states == ["down"]:
            clock.advance(120)  # the outage lasts for minutes of the simulated time

    states: list[str] = []
    clock.before_sleep = outage
    run.until(up_at)
    found = latest(run.published())
    assert states == ["down", "up"]
    times = sorted(time for _, _, time in found)
    assert times == list(range(times[0], times[-1] + 1, MINUTE_MS))
    assert times[-1] >= up_at - 3 * MINUTE_MS
    assert found == truth(server, "BTC-USD", "1m", times[0], times[-1])


def test_a_publisher_says_where_the_broker_was_expected() -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    with pytest.raises(BrokerUnavailable, match=nowhere):
        BarPublisher(nowhere, "bars", timeout_s=0.5).publish([BAR])
    with pytest.raises(BrokerUnavailable, match=nowhere):
        check_broker(nowhere, "bars", timeout_s=0.5)


def test_publish_counts_what_the_broker_has_acknowledged(
    broker: EmbeddedBroker, topic_prefix: str
) -> None:
    assert ensure_topics(broker.bootstrap_servers, {topic_prefix: 3}) == [topic_prefix]
    assert ensure_topics(broker.bootstrap_servers, {topic_prefix: 3}) == []
    with BarPublisher(broker.bootstrap_servers, topic_prefix) as publisher:
        assert publisher.publish([]) == 0
        assert publisher.publish([BAR, BAR]) == 2
        assert publisher.publish(iter([BAR] * 30_000)) == 30_000  # more than may be pending


def test_bars_that_take_a_while_to_gather_come_as_one_group(
    broker: EmbeddedBroker, topic_prefix: str
) -> None:
    ensure_topics(broker.bootstrap_servers, {topic_prefix: 1})
    place, seen = TopicPartition(topic_prefix, 0), []

    def gathered() -> Iterator[Bar]:
        for _ in range(10):
            yield BAR
            with KafkaConsumer(bootstrap_servers=broker.bootstrap_servers) as consumer:
                seen.append(consumer.end_offsets([place])[place])

    with BarPublisher(broker.bootstrap_servers, topic_prefix) as publisher:
        assert publisher.publish(gathered()) == 10
    assert seen == [0] * 10


# kafka-python's producer closes once more when it is collected, and its broker is still gone.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_stop_does_not_wait_for_a_broker_that_is_gone(own_broker: EmbeddedBroker) -> None:
    stopping = threading.Event()
    options = {"stopping": stopping, "stop_after_s": 0.5, "timeout_s": 60.0}
    with BarPublisher(own_broker.bootstrap_servers, "bars", **options) as publisher:
        publisher.publish([BAR])
        own_broker.kill()
        stopping.set()
        with pytest.raises(BrokerUnavailable, match=r"within 0\.5 s"):
            publisher.publish([BAR])
    gc.collect()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A port on which somebody listens who is no broker, or one that does not work yet."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def test_a_broker_that_does_not_answer_before_the_login_is_away_and_does_not_refuse_it(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.broker_errors.PROBE_S", 0.5)
    with pytest.raises(BrokerUnavailable):
        check_broker(with_password(listener.getsockname()[1]), "bars", timeout_s=0.5)


def test_a_broker_that_answers_and_hangs_up_at_the_login_refuses_it(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.broker_errors.PROBE_S", 0.5)

    def answer_and_hang_up() -> None:
        with suppress(OSError):
            while True:
                with listener.accept()[0] as client:
                    client.recv(100)
                    client.sendall(bytes(4))

    threading.Thread(target=answer_and_hang_up, daemon=True).start()
    with pytest.raises(ConfigurationError, match="CANDLECAST_KAFKA__SASL_PASSWORD"):
        check_broker(with_password(listener.getsockname()[1]), "bars", timeout_s=0.5)


def with_password(port: int) -> KafkaConnection:
    return KafkaConnection.model_validate(
        {
            "bootstrap_servers": f"127.0.0.1:{port}",
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_username": "user",
            "sasl_password": "word",
        }
    )
