"""Bars as an exchange closes them, from a websocket that goes wrong in every way."""

import subprocess
import sys
import threading
import time
from datetime import date
from queue import SimpleQueue
from typing import Any

import pytest

from conf.sections import Ingest
from ingest.bar import OPTIONAL
from ingest.bar_feed import Series
from ingest.budget import RateBudget
from ingest.check import check_source
from ingest.clock import Clock
from ingest.live import Live, LiveFeed
from ingest.metrics import IngestMetrics
from ingest.plan import bar_feeds
from ingest.poll import QUIET_S, Poller
from ingest.sources import Closed, SourceOptions, open_source
from ingest.sources.candles import FORMS, lacking_fields, optional
from ingest.sources.websocket import MOST_SERIES, Forming, grouped
from jobs.machine.processes import wait_until
from tests.ingest.exchange_server import MINUTE_MS, PROTOCOLS, ExchangeServer
from tests.ingest.live_run import START_MS, Kept, LiveRun
from tests.ingest.market_server import SimulatedClock
from tests.ingest.runs import kafka_settings

SYMBOLS = ["BTC-USDT", "ETH-USDT"]
NEVER = 1e9


@pytest.mark.parametrize("name", PROTOCOLS)
def test_whatever_goes_wrong_a_reader_has_exactly_the_bars_of_rest(name: str) -> None:
    run = LiveRun(name, SYMBOLS[:1], seed=22, every=1.5)
    run.run(minutes=60)
    wrong = run.wrong()
    # Who says nothing of a close can be taken at a word that another would have followed; and a
    # message that was spoilt into another good one is believed until a poll tells.
    most = run.script.faults["malformed"]
    if not run.server.protocol.says_closed:
        most += sum(run.script.faults[fault] for fault in ("late", "silence"))
    assert wrong.pop("revised", 0) <= most
    assert wrong == {}
    assert len(run.script.faults) >= 7


def test_a_bar_is_published_when_the_exchange_closes_it_and_polls_confirm_it() -> None:
    run = LiveRun("binance", SYMBOLS, seed=1, every=NEVER)
    run.run(minutes=30)
    assert run.wrong() == {}
    began_ms = START_MS + MINUTE_MS
    late = [at - bar.close_time for at, bar in run.kept.bars if bar.open_time >= began_ms]
    assert len(late) >= 50
    assert max(late) <= 300 + QUIET_S * 1000  # told by then, at the latest, and one group
    assert run.server.calls <= 2 * 31 + 6  # no more than polls alone would make
    seen = run.metrics.registry.get_sample_value
    assert seen("candlecast_ingest_live_connections") == 1
    assert seen("candlecast_ingest_live_cuts_total") == 0


def test_what_a_cut_left_is_asked_for_before_anything_newer_is_published() -> None:
    run = LiveRun("binance", SYMBOLS, seed=1, every=NEVER)
    run.clock.at(START_MS + 10 * MINUTE_MS + 30_000, lambda: run.script.gone("cut"))
    run.clock.at(START_MS + 15 * MINUTE_MS + 30_000, lambda: run.script.gone("silence"))
    run.run(minutes=25)
    assert run.wrong() == {}
    seen = run.metrics.registry.get_sample_value
    assert seen("candlecast_ingest_live_cuts_total") >= 1
    assert seen("candlecast_ingest_live_resubscribed_total") >= 1


@pytest.mark.parametrize("name", ["synthetic", "exchange:coinbase"])
def test_a_source_without_websockets_is_polled(name: str) -> None:
    source = open_source(name, SourceOptions(clock=Clock()))
    assert source.listen([("A-B", "1m")], print) is None


def test_who_only_polls_imports_no_websocket() -> None:
    code = (
        "import sys; from ingest.clock import Clock; import jobs.ingest_bars;"
        "from ingest.sources import SourceOptions, open_source;"
        "open_source('exchange:binance', SourceOptions(clock=Clock()));"
        "print([m for m in sys.modules if m.startswith('ccxt.pro') or 'websocket' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ccxt.pro" not in done.stdout
    assert "ingest.sources.websocket" not in done.stdout


@pytest.mark.parametrize("away", [False, True])
def test_a_stream_ends_within_seconds_and_leaves_nothing_behind(away: bool) -> None:
    heard: SimpleQueue[Any] = SimpleQueue()
    before = set(threading.enumerate())
    with ExchangeServer(PROTOCOLS["binance"](), SYMBOLS, Clock()) as server:
        options = SourceOptions(clock=Clock(), base_url=server.url)
        source = open_source("exchange:binance", options)
        server.away = away
        stream = source.listen([(symbol, "1m") for symbol in SYMBOLS], heard.put)
        assert stream is not None
        stream.open(0, 1)
        if away:
            assert "503" in heard.get(timeout=30).reason
        else:
            (candle,) = server.truth("BTC-USDT", START_MS, START_MS)
            while heard.empty():  # until it is subscribed
                server.say(server.protocol.told("BTC-USDT", candle, closed=True))
            assert isinstance(heard.get(), Closed)
        begun = time.monotonic()
        stream.close()
        assert time.monotonic() - begun < 5
    assert {thread for thread in threading.enumerate() if thread.name == "live"} - before == set()


def test_a_symbol_that_the_exchange_does_not_list_keeps_no_other_from_being_heard() -> None:
    heard: SimpleQueue[Any] = SimpleQueue()
    with ExchangeServer(PROTOCOLS["binance"](), SYMBOLS[:1], Clock()) as server:
        options = SourceOptions(clock=Clock(), base_url=server.url)
        source = open_source("exchange:binance", options)
        stream = source.listen([("NOSUCH-USDT", "1m"), (SYMBOLS[0], "1m")], heard.put)
        assert stream is not None
        stream.open(0, 1)
        (candle,) = server.truth(SYMBOLS[0], START_MS, START_MS)
        while heard.empty():  # until it is subscribed
            server.say(server.protocol.told(SYMBOLS[0], candle, closed=True))
        assert heard.get().series == (SYMBOLS[0], "1m")
        stream.close()


def test_a_program_that_listens_ends_within_seconds_of_being_told_to() -> None:
    clock = Clock()
    with ExchangeServer(PROTOCOLS["binance"](), SYMBOLS, clock) as server:
        options = SourceOptions(clock=clock, base_url=server.url)
        source = open_source("exchange:binance", options)
        source.named("BTC-USDT")
        settings = Ingest(source=source.name, symbols=SYMBOLS, intervals=["1m"], backfill_bars=3)
        kafka, metrics = kafka_settings("127.0.0.1:1", "bars"), IngestMetrics()
        feeds = bar_feeds(source, settings, kafka, clock.now_ms(), None, LiveFeed)
        live = Live(source, feeds, clock, metrics)
        kept: Any = Kept(clock)
        poller = Poller(
            *(feeds, kept, settings),
            clock=clock,
            budget=RateBudget({}, clock.monotonic_ms()),
            metrics=metrics,
            live=live,
        )
        running = threading.Thread(target=poller.run)
        running.start()
        assert wait_until(lambda: server.met >= 1, timeout_s=60)  # it listens
        begun = time.monotonic()
        clock.stopping.set()
        running.join()
        live.close()
        assert time.monotonic() - begun < 5
    assert not [thread for thread in threading.enumerate() if thread.name == "live"]


class Telling:
    """A stream of one connection that tells nothing; it counts how often it was opened."""

    groups = ((("BTC-USDT", "1m"),),)

    def __init__(self) -> None:
        self.heard_at: dict[int, int] = {}
        self.opened = 0

    def open(self, number: int, life: int) -> None:
        self.opened += 1

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("refused", "most"), [(False, 40), (True, 2)])
def test_what_is_refused_is_asked_for_once_an_hour_and_what_is_cut_every_half_minute(
    refused: bool, most: int
) -> None:
    clock, stream = SimulatedClock(START_MS), Telling()
    source = open_source("synthetic", SourceOptions(clock=clock))
    source.listen = lambda series, put: stream  # type: ignore[method-assign]
    live = Live(source, [], clock, IngestMetrics())
    live.start(print)
    for _ in range(20 * 60):
        live.cut(0, live.opened, "no", refused)
        clock.advance(1.0)
        live.look()
    assert most / 2 <= stream.opened <= most + 6


def test_a_candle_is_closed_where_the_exchange_says_so_or_where_another_begins() -> None:
    def row(minute: int, volume: float) -> list[Any]:
        return [minute * MINUTE_MS, 1.0, 1.0, 1.0, 1.0, volume]

    says = Forming()
    assert [says.closed(row(1, 5.0), said) for said in (False, True)] == [None, row(1, 5.0)]
    silent = Forming()
    told = [row(1, 1.0), row(1, 5.0), row(1, 3.0), row(2, 1.0), row(1, 6.0), row(4, 1.0)]
    closed = [silent.closed(one, None) for one in told]
    assert closed == [None, None, None, row(1, 5.0), None, row(2, 1.0)]


def test_candles_by_rest_and_by_websocket_have_the_same_fields() -> None:
    """One minute of each kind of market, by both ways."""
    k = {"t": 1, "o": "1", "h": "2", "l": "1", "c": "2", "v": "8", "q": "12", "n": 3, "V": "4"}
    k |= {"Q": "6", "s": "BTCUSDT", "i": "1m", "x": True}
    rest = [1, "1", "2", "1", "2", "8", 59_999, "12", 3, "4", "6", "0"]
    bybit = {"start": 1, "open": "1", "high": "2", "low": "1", "close": "2", "volume": "8"}
    bybit |= {"turnover": "12", "confirm": True}
    for name, message, row in (
        ("binance", {"k": k}, rest),
        ("bybit", {"topic": "kline.1.BTCUSD", "data": [bybit]}, [1, "1", "2", "1", "2", "8", "12"]),
    ):
        form = FORMS[name]
        for kind in ("spot", "linear", "inverse"):
            assert form.by_websocket is not None
            (candle,) = form.by_websocket(message, kind)
            by_rest = optional(form.by_rest(row, {"inverse": kind == "inverse"}))
            assert candle.row[6:] == by_rest, (name, kind)
            assert candle.closed is True


def test_a_connection_has_series_of_one_kind_and_timeframe_in_the_order_of_the_settings() -> None:
    series = [(f"S{n}-USDT", "1m") for n in range(MOST_SERIES + 1)] + [("S1-USDT", "1h")]
    groups = grouped(series, lambda one: "spot")
    assert groups == [series[:MOST_SERIES], [series[MOST_SERIES]], [series[-1]]]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_source_is_known_to_tell_what_its_bars_have(name: str) -> None:
    clock = SimulatedClock(START_MS + 10 * MINUTE_MS)
    with ExchangeServer(PROTOCOLS[name](), SYMBOLS, clock) as server:
        options = SourceOptions(clock=clock, base_url=server.url, timeout_s=30)
        source = open_source(f"exchange:{name}", options)
        bars = source.fetch("BTC-USDT", "1m", START_MS, START_MS + 5 * MINUTE_MS)
    lacking = {field for field in OPTIONAL if all(getattr(bar, field) is None for bar in bars)}
    assert bars
    assert lacking == lacking_fields(source.name)


def test_a_check_says_what_a_source_gives() -> None:
    clock = SimulatedClock(START_MS + 10 * MINUTE_MS)
    series = Series("BTC-USDT", "1m", MINUTE_MS, 3_000)
    with ExchangeServer(PROTOCOLS["binance"](), SYMBOLS, clock) as server:
        options = SourceOptions(clock=clock, base_url=server.url, timeout_s=30)
        source = open_source("exchange:binance", options)
        settings = Ingest(live="websocket", earliest=date(2020, 1, 1))
        said = check_source(source, series, settings, clock.now_ms())
    assert "bars=3/3 rejected=0 newest_close=" in said
    assert "fields=quote_volume,trades,taker_base_volume,taker_quote_volume page=500" in said
    assert "history_from=2020-01-01 clock_off_s=0.25" in said
    assert said.endswith('live=websocket after_close_s="0 to 3"')
    synthetic = open_source("synthetic", SourceOptions(clock=clock))
    said = check_source(synthetic, series, settings, clock.now_ms())
    assert "fields=quote_volume" in said
    assert said.endswith('clock_off_s="not told" live=poll after_close_s=3')
