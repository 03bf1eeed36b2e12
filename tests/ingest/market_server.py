"""A market-data API on loopback that can go wrong in every way that the real ones do.

It serves a synthetic market, so that a test knows what is right: `good_bars` is the truth.
"""

import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from conf.timeframes import TIMEFRAME_MS
from ingest.bar import Bar
from ingest.clock import Clock
from ingest.sources import SourceOptions
from ingest.sources.synthetic import Synthetic

FIXTURES = Path(__file__).parent / "fixtures"
ERRORS = {
    name: case
    for name, case in json.loads((FIXTURES / "errors.json").read_text()).items()
    if isinstance(case, dict)
}
UNITS = {"histominute": "1m", "histohour": "1h", "histoday": "1d"}
UNITS |= {"minutes": "1m", "hours": "1h", "days": "1d"}
WEEK_MS = 7 * 86_400_000

# Faults that pass by themselves, and those after which the source must not be asked again.
PASSING = (
    "rate_limit_http200_old",
    "rate_limit_http200_cooldown",
    "bad_path_http200",
    "http_429",
    "http_500",
    "http_502",
    "timeout",
    "truncated",
    "not_json",
    "empty",
    "zeros",
    "drip",
    "reset",
)
LASTING = (
    "unknown_symbol_http200",
    "missing_param_http200",
    "needs_key_http200_pre_2026_05",
    "no_key_http401_since_2026_05_21",
    "http_401",
)


class SimulatedClock(Clock):
    """A clock that only a wait moves on: however slow the machine, the times are the same."""

    def __init__(self, start_ms: int) -> None:
        super().__init__()
        self._now_ms = self._running_ms = start_ms
        self.before_sleep: Callable[[float], None] = lambda seconds: None

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_ms(self) -> int:
        return self._running_ms

    def set_by(self, seconds: float) -> None:
        """Somebody sets the wall clock so far from the true time."""
        self._now_ms = self._running_ms + round(seconds * 1000)

    def sleep(self, seconds: float) -> None:
        self.before_sleep(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass; no wait is so short that it leaves the clock where it was."""
        passed_ms = max(1, round(seconds * 1000)) if seconds > 0 else 0
        self._now_ms += passed_ms
        self._running_ms += passed_ms


class MarketServer:
    """min-api, the Data API and Binance's candles, over one market, on a free loopback port.

    `fault` names for each request what goes wrong, or None. `limits` are calls a window that are
    allowed, as (calls, seconds) on the clock of the test. `calls` keeps what was asked, `denied`
    how often the limits were broken.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        fault: Callable[[str], str | None] = lambda path: None,
        limits: tuple[tuple[int, int], ...] = (),
        key: str | None = None,
    ) -> None:
        self.clock = clock
        self.fault = fault
        self.limits = limits
        self.key = key
        self.market = Synthetic(SourceOptions(clock=clock))
        self.revised: dict[tuple[str, int], float] = {}
        self.withheld: set[tuple[str, int]] = set()
        self.articles: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.faults: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.denied = 0
        self.stopping = threading.Event()
        self.stall_s = 1.0
        self._times: list[int] = []
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        server.daemon_threads = True
        # a client that left
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        server.market = self  # type: ignore[attr-defined]
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def bars(self, symbol: str, timeframe: str, first_ms: int, last_ms: int) -> list[Bar]:
        """What the good API knows between two open times, both included."""
        bars = self.market.fetch(symbol, timeframe, first_ms, last_ms)
        return [
            self._as_served(bar) for bar in bars if (symbol, bar.open_time) not in self.withheld
        ]

    def _as_served(self, bar: Bar) -> Bar:
        close = self.revised.get((bar.symbol, bar.open_time), bar.close)
        high, low = max(bar.high, close), min(bar.low, close)
        fixed = (bar.base_volume, bar.quote_volume, bar.source, bar.fetched_at)
        return Bar(bar.symbol, bar.interval, bar.open_time, bar.open, high, low, close, *fixed)

    def over_limit(self) -> bool:
        """Count this call; True where a limit is broken by it."""
        with self._lock:
            now_ms = self.clock.now_ms()
            self._times.append(now_ms)
            for calls, seconds in self.limits:
                if sum(time > now_ms - seconds * 1000 for time in self._times) > calls:
                    self.denied += 1
                    return True
            return False


def faulty(seed: int, share: float, kinds: tuple[str, ...]) -> Callable[[str], str | None]:
    """A fault of one of `kinds` for a `share` of the requests, the same ones for one seed."""
    dice = random.Random(seed)
    return lambda path: dice.choice(kinds) if dice.random() < share else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A test makes thousands of small answers; Nagle would add 40 ms to each.
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        market: MarketServer = self.server.market  # type: ignore[attr-defined]
        market.calls.append(self.path)
        market.headers.append(dict(self.headers))
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if market.over_limit():
            return self._json(200, ERRORS["rate_limit_http200_old"]["body"])
        if market.key and self.headers.get("Authorization") != f"Apikey {market.key}":
            return self._json(401, ERRORS["no_key_http401_since_2026_05_21"]["body"])
        fault = market.fault(url.path)
        if fault:
            market.faults[fault] += 1
        self._answer(market, url.path, query, fault)

    def _answer(
        self, market: MarketServer, path: str, query: dict[str, str], fault: str | None
    ) -> None:
        if fault in ERRORS:
            status = 401 if "401" in str(fault) else 200
            return self._json(status, ERRORS[fault]["body"])
        if fault and fault.startswith("http_"):
            wait = {"Retry-After": "7"} if fault == "http_429" else {}
            return self._json(int(fault[5:]), {"Err": {"message": fault}}, wait)
        good = self._good(market, path, query, fault)
        if fault is None or fault in ("empty", "zeros"):
            return self._json(200, good)
        body = json.dumps(good).encode()
        {
            "timeout": self._stall,
            "drip": self._drip,
            "truncated": self._cut_off,
            "not_json": self._html,
            "reset": self._reset,
        }[fault](market, body)

    def _json(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self._body(body)

    def _body(self, body: bytes) -> None:
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stall(self, market: MarketServer, body: bytes) -> None:
        market.stopping.wait(market.stall_s)
        self.close_connection = True

    def _drip(self, market: MarketServer, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.close_connection = True
        until_s = time.monotonic() + market.stall_s
        for at in range(len(body)):
            if time.monotonic() > until_s or market.stopping.wait(0.02):
                return
            try:
                self.wfile.write(body[at : at + 1])
            except OSError:
                return

    def _cut_off(self, market: MarketServer, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.close_connection = True

    def _html(self, market: MarketServer, body: bytes) -> None:
        self.send_response(200)
        self._body(b"<html>Bad gateway</html>")

    def _reset(self, market: MarketServer, body: bytes) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def _good(
        self, market: MarketServer, path: str, query: dict[str, str], fault: str | None
    ) -> object:
        if path == "/data/v2/news/":
            return _min_api_news(market, query, fault)
        if path == "/news/v1/article/list":
            return _data_api_news(market, query, fault)
        if path.startswith("/data/v2/"):
            return _min_api(market, path, query, fault)
        return _data_api(market, path, query, fault)


def _min_api(market: MarketServer, path: str, query: dict[str, str], fault: str | None) -> object:
    unit = UNITS[path.rpartition("/")[2]]
    symbol = f"{query['fsym']}-{query['tsym']}"
    bars = _stretch(market, symbol, unit, query, int(query["limit"]) + 1, query.get("toTs"))
    rows = [
        {
            "time": bar.open_time // 1000,
            "high": bar.high,
            "low": bar.low,
            "open": bar.open,
            "volumefrom": bar.base_volume,
            "volumeto": bar.quote_volume,
            "close": bar.close,
            "conversionType": "direct",
            "conversionSymbol": "",
        }
        for bar in bars
    ]
    if fault == "zeros":
        rows = [{**row, **dict.fromkeys(("open", "high", "low", "close"), 0)} for row in rows]
    rows = [] if fault == "empty" else rows
    return {"Response": "Success", "Message": "", "Type": 100, "Data": {"Data": rows}}


def _data_api(market: MarketServer, path: str, query: dict[str, str], fault: str | None) -> object:
    unit = UNITS[path.rpartition("/")[2]]
    bars = _stretch(
        market, query["instrument"], unit, query, int(query["limit"]), query.get("to_ts")
    )
    rows = [
        {
            "UNIT": "MINUTE",
            "TIMESTAMP": bar.open_time // 1000,
            "MARKET": query["market"],
            "INSTRUMENT": bar.symbol,
            "OPEN": bar.open,
            "HIGH": bar.high,
            "LOW": bar.low,
            "CLOSE": bar.close,
            "VOLUME": bar.base_volume,
            "QUOTE_VOLUME": bar.quote_volume,
        }
        for bar in bars
    ]
    if fault == "zeros":
        rows = [{**row, **dict.fromkeys(("OPEN", "HIGH", "LOW", "CLOSE"), 0)} for row in rows]
    return {"Data": [] if fault == "empty" else rows, "Err": {}}


def _stretch(
    market: MarketServer,
    symbol: str,
    unit: str,
    query: dict[str, str],
    count: int,
    to_s: str | None,
) -> list[Bar]:
    """`count` bars up to `to_s`, the forming one with what it has so far, old minutes as zeros."""
    now_ms = market.clock.now_ms()
    aggregate = int(query.get("aggregate", "1"))
    timeframe = {v: k for k, v in TIMEFRAME_MS.items()}[TIMEFRAME_MS[unit] * aggregate]
    step = TIMEFRAME_MS[timeframe]
    last = min(int(to_s) * 1000 if to_s else now_ms, now_ms) // step * step
    bars = market.bars(symbol, timeframe, last - (count - 1) * step, last)
    return [_as_seen(bar, now_ms, now_ms - WEEK_MS if unit == "1m" else 0) for bar in bars]


def _as_seen(bar: Bar, now_ms: int, oldest_ms: int) -> Bar:
    fixed = (bar.source, bar.fetched_at)
    if bar.open_time < oldest_ms:
        return Bar(bar.symbol, bar.interval, bar.open_time, *(0.0,) * 6, *fixed)
    if bar.close_time > now_ms:  # still forming: its close is no close, and lies outside low..high
        prices = (bar.open, bar.open, bar.open, bar.open * 1.5, 0.0, 0.0)
        return Bar(bar.symbol, bar.interval, bar.open_time, *prices, *fixed)
    return bar


def _min_api_news(market: MarketServer, query: dict[str, str], fault: str | None) -> object:
    now_s = market.clock.now_ms() // 1000
    listed = [a for a in market.articles if a["published_on"] < min(int(query["lTs"]), now_s + 1)]
    newest = sorted(listed, key=lambda a: -a["published_on"])[:50]
    rows = [] if fault in ("empty", "zeros") else newest
    return {"Type": 100, "Message": "News list successfully returned", "Data": rows}


def _data_api_news(market: MarketServer, query: dict[str, str], fault: str | None) -> object:
    listed = [a for a in market.articles if a["published_on"] <= int(query["to_ts"])]
    rows = [
        {
            "ID": int(a["id"]),
            "PUBLISHED_ON": a["published_on"],
            "TITLE": a["title"],
            "BODY": a["body"],
            "KEYWORDS": a["tags"],
            "URL": a["url"],
            "LANG": "EN",
            "SENTIMENT": "POSITIVE",
            "SOURCE_DATA": {"NAME": a["source"]},
            "CATEGORY_DATA": [{"CATEGORY": name} for name in a["categories"].split("|")],
        }
        for a in sorted(listed, key=lambda a: -a["published_on"])[: int(query["limit"])]
    ]
    return {"Data": [] if fault in ("empty", "zeros") else rows, "Err": {}}
