"""`candlecast start` looks before it starts, and says in one line what is in the way."""

import os
import socket
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from conf.errors import ConfigurationError, MissingPrerequisite, RetryLater
from conf.ports import free_port
from conf.settings import Settings, home_variables, load_settings
from ingest.topics import check_broker
from jobs.machine.broker import EmbeddedBroker
from jobs.machine.processes import wait_until
from jobs.run import FIRST_PAUSE_S, Kept
from jobs.start import DEFAULTS, Wanted, ask, examine, plan, start, use, written_before
from tests.ingest.runs import kafka_settings

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


def answers(broker: EmbeddedBroker) -> bool:
    try:
        check_broker(kafka_settings(broker.bootstrap_servers, "bars"), "bars")
    except RetryLater:
        return False
    return True


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
    assert examine(settings, WANTED.over(settings.ingest)), (
        "no broker answers: one of our own is needed"
    )
    said = capsys.readouterr().out
    assert all(line.startswith("ok ") for line in said.splitlines())
    for what in ("Java", "disk", "ports", "symbol=BTC-USD", "symbol=ETH-USD", "one of our own"):
        assert what in said


def test_a_broker_that_answers_is_used(
    home: pytest.MonkeyPatch, broker: EmbeddedBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    home.setenv("CANDLECAST_KAFKA__BOOTSTRAP_SERVERS", broker.bootstrap_servers)
    assert not examine(load_settings(), WANTED.over(load_settings().ingest))
    assert broker.bootstrap_servers in capsys.readouterr().out


def test_a_broker_of_our_own_that_died_is_started_again(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path) as own:
        kept = Kept(own.program)
        own.program.kill()
        kept.look(0.0)
        kept.look(FIRST_PAUSE_S)
        assert wait_until(lambda: answers(own), 60, own.program.check)
    assert not kept.program.running


def test_a_port_that_another_program_has_is_named(home: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        home.setenv("CANDLECAST_DASHBOARD__PORT", str(taken.getsockname()[1]))
        with pytest.raises(MissingPrerequisite, match=r"dashboard\.port"):
            examine(load_settings(), WANTED.over(load_settings().ingest))


@pytest.mark.parametrize("place", ["", "below", "below/that"])
def test_a_folder_that_cant_be_made_is_named(
    home: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").write_text("no folder")
    home.setenv("CANDLECAST_WAREHOUSE__DIR", str(tmp_path / "file" / place))
    with pytest.raises(ConfigurationError, match=rf"^warehouse\.dir: {tmp_path}/file"):
        examine(load_settings(), WANTED.over(load_settings().ingest))


@pytest.mark.parametrize(
    "wrong",
    [Wanted("nasdaq", "BTC-USD", "1m"), Wanted("synthetic", "BTC-USD", "7m")],
    ids=["source", "timeframe"],
)
def test_what_there_is_not_is_refused_before_anything_starts(
    settings: Settings, wrong: Wanted
) -> None:
    with pytest.raises(ConfigurationError):
        examine(settings, wrong.over(settings.ingest))


def test_the_settings_that_are_written_are_those_that_were_asked_for(
    home: pytest.MonkeyPatch, settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    home.setenv("CANDLECAST_INGEST__SYMBOLS", '["XRP-USD"]')  # a flag goes before it
    home.setenv("CANDLECAST_CONFIG", "")  # so that it is as before behind the test
    home.delenv("CANDLECAST_CONFIG")
    use(file, settings, WANTED.over(settings.ingest), "127.0.0.1:1234")
    assert not set(home_variables("")) & set(os.environ)
    found = load_settings()
    assert (found.ingest.source, found.ingest.symbols) == ("synthetic", ["BTC-USD", "ETH-USD"])
    assert found.kafka.bootstrap_servers == "127.0.0.1:1234"
    assert (found.warehouse, found.registry) == (settings.warehouse, settings.registry)


def test_what_the_own_settings_file_says_besides_is_kept(
    home: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        '[market]\nleaders_of = {"KRAKEN:*" = ["BTC-USD"]}\n'
        "[stream]\nmax_bars_per_micro_batch = 7\n"
        '[ingest]\nearliest = 2015-01-02\nintervals_of = {"A-B" = ["1h"]}\nlive = "websocket"\n'
    )
    home.setenv("CANDLECAST_CONFIG", str(own))
    file = tmp_path / "mine.toml"
    use(file, load_settings(), WANTED.over(load_settings().ingest), "127.0.0.1:1234")
    found = load_settings()
    assert found.market.leaders_of == {"KRAKEN:*": ["BTC-USD"]}
    assert found.stream.max_bars_per_micro_batch == 7
    assert (found.ingest.earliest, found.ingest.live) == (date(2015, 1, 2), "websocket")
    assert (found.ingest.symbols, found.ingest.intervals_of) == (["BTC-USD", "ETH-USD"], {})


@pytest.fixture
def written(home: pytest.MonkeyPatch, settings: Settings) -> Path:
    """What an earlier start wrote, and a person has changed since."""
    file = settings.warehouse.folder / "candlecast.toml"
    file.parent.mkdir(parents=True)
    home.setenv("CANDLECAST_CONFIG", "")
    home.delenv("CANDLECAST_CONFIG")
    asked = WANTED.over(settings.ingest)
    use(file, settings, asked, settings.kafka.bootstrap_servers)
    home.delenv("CANDLECAST_CONFIG")
    for name, value in home_variables(settings.warehouse.folder).items():
        home.setenv(name, value)  # as a new shell has them
    text = file.read_text().replace('["1m"]', '["1m", "1h"]')
    file.write_text(f"# mine\n{text}\n[stream]\nmax_bars_per_micro_batch = 7\n")
    load_settings.cache_clear()
    return file


NOTHING_GIVEN = dict.fromkeys(DEFAULTS)


def test_a_file_that_was_changed_by_hand_stays_and_is_gone_by(written: Path) -> None:
    before = written.read_text()
    start(None, None, None, yes=True, check=True)
    assert written.read_text() == before
    found = written_before(written, {**NOTHING_GIVEN, "symbols": "BTC-USD,ETH-USD"})
    assert found.ingest.intervals == ["1m", "1h"]
    assert found.stream.max_bars_per_micro_batch == 7


def test_what_the_file_says_otherwise_is_refused_and_not_written_over(written: Path) -> None:
    before = written.read_text()
    with pytest.raises(ConfigurationError, match=f"{written} says otherwise"):
        start("synthetic", "XRP-USD", None, yes=True, check=False)
    assert written.read_text() == before


def test_of_two_files_none_is_chosen_in_silence(
    written: Path, home: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "own.toml").touch()
    home.setenv("CANDLECAST_CONFIG", str(tmp_path / "own.toml"))
    with pytest.raises(ConfigurationError, match=r"own\.toml: unset that"):
        start(None, None, None, yes=True, check=False)


def test_symbols_may_be_parted_by_a_comma_and_a_space(settings: Settings) -> None:
    spaced = Wanted("synthetic", "BTC-USD, ETH-USD", "1m")
    assert spaced.over(settings.ingest).symbols == ["BTC-USD", "ETH-USD"]


def test_what_will_happen_is_said_before_it_does(settings: Settings, tmp_path: Path) -> None:
    said = plan(settings, WANTED.over(settings.ingest), True, tmp_path / "mine.toml")
    assert "unproven" in said
    assert f"CANDLECAST_CONFIG={tmp_path}/mine.toml" in said
    daily = Wanted("synthetic", "BTC-USD", "1d")
    # Coinbase tells no quote volume, which the shipped model reads.
    other = Wanted("exchange:coinbase", "BTC-USD", "1m")
    for without in (daily, other):
        said = plan(settings, without.over(settings.ingest), True, tmp_path / "mine.toml")
        assert "candlecast train" in said
        assert "unproven" not in said


def test_a_look_alone_writes_and_starts_nothing(settings: Settings) -> None:
    start(source="synthetic", symbols="BTC-USD", timeframe="1m", yes=True, check=True)
    assert not list(settings.warehouse.folder.iterdir())
