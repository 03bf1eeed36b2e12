"""`candlecast start` looks before it starts, and says in one line what is in the way."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from conf.errors import ConfigurationError, MissingPrerequisite
from conf.ports import free_port
from conf.settings import Settings, home_variables, load_settings
from jobs.machine.broker import EmbeddedBroker
from jobs.start import DEFAULTS, Wanted, ask, examine, plan, start, write

WANTED = Wanted("synthetic", "BTC-USD,ETH-USD", "1m")


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """A place of its own, and ports that nothing has; no broker answers."""
    load_settings.cache_clear()
    for name, value in home_variables(tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CANDLECAST_DASHBOARD__PORT", str(free_port()))
    monkeypatch.setenv("CANDLECAST_STREAM__METRICS_PORT", str(free_port()))
    monkeypatch.setenv("CANDLECAST_KAFKA__BOOTSTRAP_SERVERS", f"127.0.0.1:{free_port()}")
    yield monkeypatch
    load_settings.cache_clear()


@pytest.fixture
def settings(home: pytest.MonkeyPatch) -> Settings:
    return load_settings()


def test_what_no_flag_says_is_asked_and_has_an_answer_ready() -> None:
    asked = []

    def prompt(question: str, default: str) -> str:
        asked.append(question)
        return default

    given = {"source": "synthetic", "symbols": None, "timeframe": None}
    assert ask(given, prompt) == Wanted("synthetic", "BTC-USDT,ETH-USDT", "1m")
    assert asked == [DEFAULTS["symbols"][0], DEFAULTS["timeframe"][0]]


def test_without_anyone_to_ask_the_answers_are_those_that_are_ready() -> None:
    assert ask(dict.fromkeys(DEFAULTS), None).source == "exchange:binance"


def test_a_machine_that_can_is_looked_at_line_by_line(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert examine(settings, WANTED), "no broker answers: one of our own is needed"
    said = capsys.readouterr().out
    assert all(line.startswith("ok ") for line in said.splitlines())
    for what in ("Java", "disk", "ports", "symbol=BTC-USD", "symbol=ETH-USD", "one of our own"):
        assert what in said


def test_a_broker_that_answers_is_used(
    home: pytest.MonkeyPatch, broker: EmbeddedBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    home.setenv("CANDLECAST_KAFKA__BOOTSTRAP_SERVERS", broker.bootstrap_servers)
    assert not examine(load_settings(), WANTED)
    assert broker.bootstrap_servers in capsys.readouterr().out


def test_a_port_that_another_program_has_is_named(home: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        home.setenv("CANDLECAST_DASHBOARD__PORT", str(taken.getsockname()[1]))
        with pytest.raises(MissingPrerequisite, match=r"dashboard\.port"):
            examine(load_settings(), WANTED)


@pytest.mark.parametrize(
    "wrong",
    [Wanted("nasdaq", "BTC-USD", "1m"), Wanted("synthetic", "BTC-USD", "7m")],
    ids=["source", "timeframe"],
)
def test_what_there_is_not_is_refused_before_anything_starts(
    settings: Settings, wrong: Wanted
) -> None:
    with pytest.raises(ConfigurationError):
        examine(settings, wrong)


def test_the_settings_that_are_written_are_those_that_were_asked_for(
    home: pytest.MonkeyPatch, settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    write(file, settings, WANTED, "127.0.0.1:1234")
    for name in home_variables(""):
        home.delenv(name)
    home.delenv("CANDLECAST_KAFKA__BOOTSTRAP_SERVERS")
    home.setenv("CANDLECAST_CONFIG", str(file))
    load_settings.cache_clear()
    found = load_settings()
    assert (found.ingest.source, found.ingest.symbols) == ("synthetic", ["BTC-USD", "ETH-USD"])
    assert found.kafka.bootstrap_servers == "127.0.0.1:1234"
    assert (found.warehouse, found.registry) == (settings.warehouse, settings.registry)


def test_what_will_happen_is_said_before_it_does(settings: Settings, tmp_path: Path) -> None:
    said = plan(settings, WANTED, True, tmp_path / "mine.toml")
    assert "unproven" in said
    assert f"CANDLECAST_CONFIG={tmp_path}/mine.toml" in said
    daily = Wanted("synthetic", "BTC-USD", "1d")
    assert "candlecast train" in plan(settings, daily, True, tmp_path / "mine.toml")


def test_a_look_alone_writes_and_starts_nothing(settings: Settings) -> None:
    start(source="synthetic", symbols="BTC-USD", timeframe="1m", yes=True, check=True)
    assert not list(settings.warehouse.folder.iterdir())
