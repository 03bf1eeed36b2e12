"""An exchange through ccxt, which speaks to a server on loopback as it would to Binance."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import ccxt
import pytest

from conf.errors import ConfigurationError, NotOffered, RateLimited, SourceUnavailable
from ingest.sources import Source, SourceOptions, open_source
from ingest.sources.exchange import ERRORS, mapped
from tests.ingest.market_server import SimulatedClock

MINUTE_MS = 60_000
NOW_MS = 10 * MINUTE_MS + 30_000
SYMBOL = {
    "symbol": "BTCUSDT",
    "status": "TRADING",
    "baseAsset": "BTC",
    "quoteAsset": "USDT",
    "baseAssetPrecision": 8,
    "quotePrecision": 8,
    "quoteAssetPrecision": 8,
    "orderTypes": ["LIMIT", "MARKET"],
    "isSpotTradingAllowed": True,
    "isMarginTradingAllowed": False,
    "filters": [],
    "permissions": ["SPOT"],
    "permissionSets": [["SPOT"]],
}


class Binance(BaseHTTPRequestHandler):
    """Candles of every minute but the fifth, when nobody traded; the newest is unfinished."""

    answer: tuple[int, Any] | None = None
    symbols: ClassVar[list[dict[str, Any]]] = [SYMBOL]

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path.endswith("/exchangeInfo"):
            return self._json(200, {"timezone": "UTC", "serverTime": 0, "symbols": self.symbols})
        if self.answer is not None:
            return self._json(*self.answer)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        first = int(query["startTime"]) // MINUTE_MS
        minutes = [m for m in range(first, NOW_MS // MINUTE_MS + 1) if m != 5]
        rows = [
            [m * MINUTE_MS, "10.0", "12.0", "9.0", "11.0", "1.5", (m + 1) * MINUTE_MS - 1, "16.0"]
            for m in minutes[: int(query["limit"])]
        ]
        self._json(200, [[*row, 3, "0.7", "7.7", "0"] for row in rows])

    def _json(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def handler() -> type[Binance]:
    return type("Handler", (Binance,), {})


@pytest.fixture
def exchange(handler: type[Binance]) -> Iterator[Source]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    yield open_source("exchange:binance", SourceOptions(clock=SimulatedClock(NOW_MS), base_url=url))
    server.shutdown()
    server.server_close()


def test_candles_of_an_exchange_are_bars_and_a_minute_without_a_trade_is_absent(
    exchange: Source,
) -> None:
    bars = exchange.fetch("BTC-USDT", "1m", 3 * MINUTE_MS, 7 * MINUTE_MS)
    assert [bar.open_time // MINUTE_MS for bar in bars] == [3, 4, 6, 7]
    assert (bars[0].open, bars[0].high, bars[0].low, bars[0].close) == (10.0, 12.0, 9.0, 11.0)
    assert (bars[0].symbol, bars[0].source) == ("BTC-USDT", "exchange:binance")
    assert bars[0].rejection_reason(now_ms=NOW_MS) is None


def test_a_symbol_that_the_exchange_does_not_trade_is_not_offered(exchange: Source) -> None:
    with pytest.raises(NotOffered, match="DOGE-USDT"):
        exchange.fetch("DOGE-USDT", "1m", 0, MINUTE_MS)


def test_a_market_that_was_listed_since_is_found_when_it_is_asked_for_again(
    exchange: Source, handler: type[Binance]
) -> None:
    with pytest.raises(NotOffered):
        exchange.fetch("NEW-USDT", "1m", 3 * MINUTE_MS, 4 * MINUTE_MS)
    handler.symbols = [SYMBOL, {**SYMBOL, "symbol": "NEWUSDT", "baseAsset": "NEW"}]
    assert len(exchange.fetch("NEW-USDT", "1m", 3 * MINUTE_MS, 4 * MINUTE_MS)) == 2


def test_an_empty_list_of_markets_is_no_reason_to_leave_symbols_out(
    exchange: Source, handler: type[Binance]
) -> None:
    handler.symbols = []
    with pytest.raises(SourceUnavailable, match="lists no market"):
        exchange.fetch("BTC-USDT", "1m", 0, MINUTE_MS)
    handler.symbols = [SYMBOL]
    assert exchange.named("btc-usdt") == "BTC-USDT"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((429, {"code": -1003, "msg": "Too many requests"}), RateLimited),
        ((418, {"code": -1003, "msg": "Banned"}), RateLimited),
        ((500, {}), SourceUnavailable),
        ((503, {"code": -1, "msg": "down"}), SourceUnavailable),
    ],
)
def test_every_fault_of_an_exchange_is_an_error_of_ours(
    answer: tuple[int, Any], expected: type[Exception], exchange: Source, handler: type[Binance]
) -> None:
    handler.answer = answer
    with pytest.raises(expected):
        exchange.fetch("BTC-USDT", "1m", 0, MINUTE_MS)


@pytest.mark.parametrize("body", [{"something": "else"}, [["soon", "10"]]])
def test_an_answer_of_which_ccxt_can_read_nothing_is_no_answer(
    body: object, exchange: Source, handler: type[Binance]
) -> None:
    handler.answer = (200, body)
    with pytest.raises(SourceUnavailable, match="no row for BTC-USDT can be read"):
        exchange.fetch("BTC-USDT", "1m", 0, MINUTE_MS)


def test_an_error_of_our_own_code_is_not_taken_for_an_answer(
    exchange: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*_: object) -> None:
        raise AttributeError("ours")

    monkeypatch.setattr(ccxt.binance, "fetch_ohlcv", defect)
    with pytest.raises(AttributeError, match="ours"):
        exchange.fetch("BTC-USDT", "1m", 0, MINUTE_MS)


def test_one_candle_with_a_null_or_without_a_time_leaves_the_others(
    exchange: Source, handler: type[Binance]
) -> None:
    good = [MINUTE_MS, "10", "12", "9", "11", "1.5"]
    null = [2 * MINUTE_MS, "10", "12", "9", None, None]
    handler.answer = (200, [good, null, [None, "10", "12", "9", "11", "1"], "candle", None])
    answer = exchange.fetch("BTC-USDT", "1m", 0, 3 * MINUTE_MS)
    assert [bar.rejection_reason(NOW_MS) for bar in answer] == [
        None,
        "close must be a number from 1e-30 to 1e+30",
    ]
    assert len(answer.unreadable) == 3


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("btc-usdt", "BTC-USDT"),
        ("Btc-Usdt", "BTC-USDT"),
        ("BTC-USDT", "BTC-USDT"),
        ("BINANCE:btc-usdt", "BINANCE:BTC-USDT"),
        ("stETH-USD", "stETH-USD"),
    ],
)
def test_a_symbol_is_written_as_the_exchange_lists_it(
    given: str, named: str, exchange: Source
) -> None:
    assert exchange.named(given) == named


def test_a_timeframe_is_one_of_the_exchange_or_refused_by_name(exchange: Source) -> None:
    assert exchange.terms("30m").page_bars == 500  # of contracts, fewer than of spot
    with pytest.raises(ConfigurationError, match=r"ingest\.intervals: exchange:binance .* 7m"):
        exchange.terms("7m")


def every_error(kind: type[Exception] = ccxt.BaseError) -> list[type[Exception]]:
    return [kind, *(e for child in kind.__subclasses__() for e in every_error(child))]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_no_error_of_ccxt_leaves_unmapped(kind: type[Exception]) -> None:
    assert type(mapped(kind("text"), "here")) in {ours for _, ours in ERRORS}


def test_an_exchange_that_ccxt_does_not_know_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"ingest\.source exchange:moon is unknown"):
        open_source("exchange:moon", SourceOptions(clock=SimulatedClock(0)))
