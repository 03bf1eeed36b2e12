"""What the tests of ingest share."""

from collections.abc import Callable, Iterator

import pytest

from ingest.topics import ensure_topics
from jobs.machine.broker import EmbeddedBroker
from tests.ingest.market_server import MarketServer, SimulatedClock
from tests.ingest.runs import KEY, PATIENT_S, START_MS, Run


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTOCOMPARE_API_KEY", KEY)
    monkeypatch.setenv("COINDESK_API_KEY", f"{KEY}-of-coindesk")


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(START_MS)


@pytest.fixture
def server(clock: SimulatedClock) -> Iterator[MarketServer]:
    with MarketServer(clock) as running:
        yield running


@pytest.fixture
def new_run(
    broker: EmbeddedBroker, topic_prefix: str, clock: SimulatedClock, server: MarketServer
) -> Callable[..., Run]:
    """Make a run on a topic of the test's own; call it again for a restart."""
    topics = {topic_prefix: 4, f"{topic_prefix}.rejected": 4, f"{topic_prefix}.news": 4}
    ensure_topics(broker.bootstrap_servers, topics, timeout_s=PATIENT_S)

    def make(**options: object) -> Run:
        return Run(server, clock, broker.bootstrap_servers, topic_prefix, **options)  # type: ignore[arg-type]

    return make
