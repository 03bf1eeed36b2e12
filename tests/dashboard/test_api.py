"""The HTTP API over a real server: typed, read-only, limited, and as good as its description."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from kafka import KafkaProducer
from schemathesis import GenerationMode

from conf.errors import RegistryUnavailable
from ingest.topics import ensure_topics
from jobs.machine.broker import EmbeddedBroker
from jobs.machine.processes import wait_until
from jobs.scoring.scoreboard import update_scores
from model.registry import RegisteredModel, Registry
from tests import tables
from tests.dashboard import poison
from tests.dashboard.api_server import NO_BROKER, TOPIC, chosen_settings, get, serving

WITH_PARAMETERS = ["/scores", "/predictions/{symbol}", "/predictions/{symbol}/history"]
WITH_PARAMETERS += ["/outlook/{symbol}", "/chart", "/record", "/articles"]
PATHS = ["/health", "/models", "/overview", "/decisions", "/troubles", *WITH_PARAMETERS]
# Only where something is asked for can it be asked for wrongly.
CASES = [(path, GenerationMode.POSITIVE) for path in PATHS] + [
    (path, GenerationMode.NEGATIVE) for path in WITH_PARAMETERS
]
CLOSE = tables.random_walk(300, seed=1)


@pytest.fixture(scope="module")
def url(broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    warehouse = tmp_path_factory.mktemp("warehouse")
    tables.write(warehouse, "bars", tables.bars(CLOSE))
    for horizon in (1, 5):
        rows = tables.predictions(CLOSE, tables.guesses(CLOSE, seed=horizon), horizon)
        tables.write(warehouse, "predictions", rows, f"q-{horizon}")
    update_scores(warehouse)
    ensure_topics(broker.bootstrap_servers, {TOPIC: 1})
    with serving(chosen_settings(warehouse, broker.bootstrap_servers)) as running:
        assert wait_until(lambda: get(running, "/health")["broker"] == "connected", 30)
        yield running


def test_the_latest_prediction_has_every_horizon(url: str) -> None:
    found = get(url, "/predictions/BTC-USD")
    assert [(p["horizon"], p["last_close"]) for p in found] == [(1, CLOSE[-1]), (5, CLOSE[-1])]


def test_history_is_the_newest_rows_of_the_range_in_order(url: str) -> None:
    start = int(tables.START.timestamp() * 1000)
    found = get(url, f"/predictions/BTC-USD/history?since={start}&until={start + 600_000}&limit=6")
    assert [p["as_of"] for p in found] == [start + m * 60_000 for m in (8, 8, 9, 9, 10, 10)]


@pytest.mark.parametrize("since", [0, 2**22, 2**31 - 1, 2**31])  # DuckDB takes the narrowest type
def test_a_range_may_begin_long_before_the_first_bar(url: str, since: int) -> None:
    assert len(get(url, f"/predictions/BTC-USD/history?since={since}&limit=6")) == 6


def test_scores_are_those_of_the_view(url: str) -> None:
    found = {s["horizon"]: s["predictions"] for s in get(url, "/scores?span=all")}
    assert found == {1: 299, 5: 295}


def test_there_are_no_scores_before_they_are_computed(tmp_path: Path) -> None:
    with serving(chosen_settings(tmp_path, NO_BROKER)) as fresh:
        assert get(fresh, "/scores") == []


def test_the_registry_is_asked_before_the_first_visitor_and_may_be_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Registry] = []

    def away(registry: Registry, timeframe: str | None = None) -> list[RegisteredModel]:
        asked.append(registry)
        raise RegistryUnavailable("nobody answers")

    monkeypatch.setattr(Registry, "models", away)
    with serving(chosen_settings(tmp_path, NO_BROKER)) as running:
        assert len(asked) == 1
        assert get(running, "/scores") == []


def test_an_unknown_symbol_is_not_found(url: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as error:
        get(url, "/predictions/NO-SUCH")
    assert error.value.code == 404


def test_new_predictions_come_as_events(url: str, broker: EmbeddedBroker) -> None:
    with urllib.request.urlopen(f"{url}/events?symbol=ETH-USD", timeout=20) as events:
        assert events.readline().startswith(b":")
        with KafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
            for symbol in ("BTC-USD", "ETH-USD"):
                producer.send(TOPIC, poison.changed(symbol=symbol)).get(10)
        lines = iter(events.readline, b"")
        data = next(line for line in lines if line.startswith(b"data:"))
    assert json.loads(data[5:])["symbol"] == "ETH-USD"


def test_too_many_requests_are_refused_with_a_time_to_wait(tmp_path: Path) -> None:
    with serving(chosen_settings(tmp_path, NO_BROKER, requests_per_minute=3)) as limited:
        for _ in range(3):
            assert get(limited, "/models") == []
        with pytest.raises(urllib.error.HTTPError) as error:
            get(limited, "/models")
    assert error.value.code == 429
    assert 0 < int(error.value.headers["Retry-After"]) <= 60


def test_nothing_can_be_changed_through_it(url: str) -> None:
    paths = get(url, "/openapi.json")["paths"]
    assert {method for path in paths.values() for method in path} == {"get"}


@pytest.mark.parametrize(("path", "mode"), CASES)
def test_every_answer_is_as_described(url: str, path: str, mode: GenerationMode) -> None:
    operation = schemathesis.openapi.from_url(f"{url}/openapi.json")[path]["GET"]

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(timeout=20)

    ask()


def test_every_path_but_the_endless_one_is_asked(url: str) -> None:
    assert set(get(url, "/openapi.json")["paths"]) == {*PATHS, "/events"}
