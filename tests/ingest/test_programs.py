"""`candlecast ingest` as a program: started, stopped, killed and started again."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from urllib.request import urlopen

import pytest

from conf.ports import free_port
from ingest.clock import Clock
from ingest.cursor import bars_since
from ingest.topics import ensure_topics
from jobs.machine.broker import EmbeddedBroker
from tests.ingest.market_server import MarketServer
from tests.ingest.runs import KEY, MINUTE_MS

START = "from jobs.cli import app; app()"
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def market() -> Iterator[MarketServer]:
    with MarketServer(Clock(), key=KEY) as running:
        yield running


@pytest.fixture
def start(broker: EmbeddedBroker, market: MarketServer, topic_prefix: str) -> Iterator[Start]:
    """Start the program; whatever is still running at the end of the test is killed."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
        settings = {
            "CANDLECAST_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "CANDLECAST_KAFKA__BARS_TOPIC": topic_prefix,
            "CANDLECAST_KAFKA__REJECTED_TOPIC": f"{topic_prefix}.rejected",
            "CANDLECAST_INGEST__BASE_URL": market.url,
            "CRYPTOCOMPARE_API_KEY": KEY,
            **environment,
        }
        program = subprocess.Popen(
            [sys.executable, "-c", START, "ingest", *arguments],
            env={**os.environ, **settings},
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(program)
        return program

    yield run
    for program in started:
        if program.poll() is None:
            program.kill()
        program.communicate()


def line_with(program: "subprocess.Popen[str]", text: str) -> str:
    """The next line on the program's standard error that holds `text`."""
    assert program.stderr is not None
    for line in program.stderr:
        assert KEY not in line
        if text in line:
            return line
    raise AssertionError(f"the program ended without a line with {text!r}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_program_with_0_within_10_s(number: int, start: Start) -> None:
    program = start(CANDLECAST_INGEST__BACKFILL_BARS="20")
    line = line_with(program, "event=poll")
    asked_s = time.monotonic()
    program.send_signal(number)
    assert program.wait(10) == 0
    assert time.monotonic() - asked_s < 10
    assert "symbols=2" in line
    assert "gaps=0" in line


def test_a_signal_ends_the_program_while_an_answer_drips_and_the_broker_is_gone(
    start: Start, market: MarketServer
) -> None:
    market.stall_s = 60
    market.fault = lambda path: "drip"
    waiting = start()
    line_with(waiting, "event=resumed")
    unreachable = start(CANDLECAST_KAFKA__BOOTSTRAP_SERVERS=f"127.0.0.1:{free_port()}")
    line_with(unreachable, "event=broker_unavailable")
    for program in (waiting, unreachable):
        program.send_signal(signal.SIGTERM)
        assert program.wait(10) == 0


def test_a_killed_program_loses_nothing(
    start: Start, market: MarketServer, broker: EmbeddedBroker, topic_prefix: str
) -> None:
    arguments = ("--symbols", "BTC-USD", "--once")
    backfill = {"CANDLECAST_INGEST__BACKFILL_BARS": "9000"}
    programs: list[subprocess.Popen[str]] = []

    def kill_at_the_third_page(path: str) -> None:
        if len(market.calls) == 3:
            programs[0].kill()

    market.fault = kill_at_the_third_page
    ensure_topics(broker.bootstrap_servers, {topic_prefix: 4})
    programs.append(start(*arguments, **backfill))
    assert programs[0].wait(60) == -signal.SIGKILL
    assert start(*arguments, **backfill).wait(60) == 0
    found = Counter(bar.open_time for bar in bars_since(broker.bootstrap_servers, topic_prefix, 0))
    assert sorted(found) == list(range(min(found), max(found) + 1, MINUTE_MS))
    assert len(found) >= 8_999


def test_check_says_what_is_wrong_and_exits_with_it(start: Start, market: MarketServer) -> None:
    program = start("--check")
    out = program.communicate(timeout=60)[0]
    assert program.returncode == 0
    assert "ok      broker=" in out
    assert "ok      source=cryptocompare symbol=BTC-USD interval=1m bars=3/3 rejected=0" in out

    program = start("--check", CRYPTOCOMPARE_API_KEY="a-wrong-key")
    out = program.communicate(timeout=60)[0]
    assert program.returncode == 78
    assert "ok      broker=" in out
    assert "problem ConfigurationError: the source refuses the key" in out
    assert "CRYPTOCOMPARE_API_KEY" in out
    assert "a-wrong-key" not in out


def test_a_refused_key_ends_the_program_with_78_and_what_to_do(start: Start) -> None:
    program = start(CRYPTOCOMPARE_API_KEY="")
    error = program.communicate(timeout=60)[1]
    assert program.returncode == 78
    assert "set CRYPTOCOMPARE_API_KEY to a valid API key" in error
    assert "Traceback" not in error


def test_once_ends_with_75_where_something_stayed_unanswered_and_names_it(
    start: Start, market: MarketServer
) -> None:
    market.fault = lambda path: "http_500" if "fsym=ETH" in market.calls[-1] else None
    program = start("--once", CANDLECAST_INGEST__ATTEMPTS="1")
    error = program.communicate(timeout=60)[1]
    assert program.returncode == 75
    assert "candlecast: not everything was answered" in error
    assert "ETH-USD 1m: /data/v2/histominute: HTTP 500" in error


def test_prometheus_is_told(start: Start) -> None:
    port = free_port()
    program = start("--metrics-port", str(port), CANDLECAST_INGEST__BACKFILL_BARS="20")
    line_with(program, "event=poll")
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    for name in (
        "bars_published_total",
        "gaps_open",
        "seconds_behind",
        "api_calls_total",
        'rate_budget_left{window="minute"}',
    ):
        assert f"candlecast_ingest_{name}" in text
    assert KEY not in text


def test_a_replay_publishes_a_file_and_goes_on_where_it_was(
    start: Start, broker: EmbeddedBroker, topic_prefix: str
) -> None:
    file = "BTC-USD=data/btcusd_cryptocompare_cccagg_1m_2017-12.csv.gz"
    part = ("--source", "recorded", "--file", file, "--until", "2017-12-26")
    assert start(*part).wait(60) == 0
    program = start("--source", "recorded", "--file", file)
    assert "bars=3218" in line_with(program, "event=replayed")
    assert program.wait(60) == 0
    found = [bar.open_time for bar in bars_since(broker.bootstrap_servers, topic_prefix, 0)]
    assert len(found) == len(set(found)) == 3_660
