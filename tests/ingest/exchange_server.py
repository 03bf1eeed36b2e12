"""Exchanges on loopback, by REST and by websocket, in the forms that ccxt's parsers read.

They serve one made-up market, so that a test knows what is right.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from itertools import count
from typing import Any, ClassVar, NamedTuple, Self
from zlib import crc32

from aiohttp import WSMsgType, web

from conf.timeframes import TIMEFRAME_MS
from ingest.clock import Clock
from ingest.sources import SourceOptions
from ingest.sources.synthetic import Synthetic
from ingest.sources.websocket import MOST_SERIES
from tests.ingest.test_exchange import SYMBOL

MINUTE_MS = TIMEFRAME_MS["1m"]
PATIENT_S = 60.0


class Candle(NamedTuple):
    """What an exchange knows of a minute; volumes are taken so far."""

    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote: float
    trades: int
    taker: float
    taker_quote: float

    def so_far(self, share: float) -> "Candle":
        """The same minute before it was over."""
        half = Candle(*self)._replace(
            **{n: getattr(self, n) * share for n in ("volume", "quote", "taker", "taker_quote")}
        )
        return half._replace(
            trades=int(self.trades * share), close=self.open, high=self.open, low=self.open
        )

    @property
    def average(self) -> float:
        return self.quote / self.volume if self.volume else 0.0


class Market:
    """Candles of any minute; about one of `quiet` minutes is without a trade, and has none."""

    def __init__(self, clock: Clock, quiet: int = 40) -> None:
        self._market = Synthetic(SourceOptions(clock=clock))
        self._quiet = quiet

    def candles(self, symbol: str, first_ms: int, last_ms: int) -> Iterator[Candle]:
        for bar in self._market.fetch(symbol, "1m", first_ms, last_ms):
            dice = crc32(f"{symbol}{bar.open_time}".encode())
            if dice % self._quiet:
                base = bar.base_volume
                yield Candle(
                    *(bar.open_time, bar.open, bar.high, bar.low, bar.close, base),
                    *(base * bar.close, dice % 90 + 10, base / 4, base * bar.close / 4),
                )


class Protocol:
    """How one exchange speaks; `symbols` are BASE-QUOTE."""

    name: ClassVar[str]
    says_closed: ClassVar[bool] = True

    def listed(self, path: str, symbols: list[str]) -> Any:
        """The answer to a question about markets, None for another question."""

    def asked(self, query: dict[str, str], now_ms: int) -> tuple[str, int, int]:
        """Symbol, first and last time (ms) that a question about candles is about."""
        raise NotImplementedError

    def candles(self, symbol: str, candles: list[Candle]) -> Any:
        """The answer with these candles."""
        raise NotImplementedError

    def subscribed(self, message: dict[str, Any]) -> tuple[list[str], list[Any]]:
        """The symbols that a message subscribes, and what is said to it."""
        raise NotImplementedError

    def told(self, symbol: str, candle: Candle, closed: bool) -> dict[str, Any]:
        """A candle by websocket."""
        raise NotImplementedError


class Binance(Protocol):
    name = "binance"

    def listed(self, path: str, symbols: list[str]) -> Any:
        if not path.endswith("/exchangeInfo"):
            return None
        found = []
        for symbol in symbols:
            base, quote = symbol.split("-")
            found.append({**SYMBOL, "symbol": base + quote, "baseAsset": base, "quoteAsset": quote})
        return {"timezone": "UTC", "serverTime": 0, "symbols": found}

    def asked(self, query: dict[str, str], now_ms: int) -> tuple[str, int, int]:
        first = int(query["startTime"])
        symbol = query["symbol"].removesuffix("USDT") + "-USDT"
        return symbol, first, first + (int(query["limit"]) - 1) * MINUTE_MS

    def candles(self, symbol: str, candles: list[Candle]) -> Any:
        return [
            [
                *(c.open_time, str(c.open), str(c.high), str(c.low), str(c.close), str(c.volume)),
                *(c.open_time + MINUTE_MS - 1, str(c.quote), c.trades, str(c.taker)),
                *(str(c.taker_quote), "0"),
            ]
            for c in candles
        ]

    def subscribed(self, message: dict[str, Any]) -> tuple[list[str], list[Any]]:
        names = [stream.split("@")[0].upper() for stream in message["params"]]
        symbols = [name.removesuffix("USDT") + "-USDT" for name in names]
        return symbols, [{"result": None, "id": message["id"]}]

    def told(self, symbol: str, candle: Candle, closed: bool) -> dict[str, Any]:
        name, c = symbol.replace("-", ""), candle
        k = {"t": c.open_time, "T": c.open_time + MINUTE_MS - 1, "s": name, "i": "1m", "f": 1}
        k |= {"L": 2, "o": str(c.open), "c": str(c.close), "h": str(c.high), "l": str(c.low)}
        k |= {"v": str(c.volume), "n": c.trades, "x": closed, "q": str(c.quote)}
        k |= {"V": str(c.taker), "Q": str(c.taker_quote), "B": "0"}
        return {"e": "kline", "E": c.open_time, "s": name, "k": k}


class Kraken(Protocol):
    name = "kraken"
    says_closed = False

    def listed(self, path: str, symbols: list[str]) -> Any:
        if path.endswith("/Assets"):
            return {"error": [], "result": {}}
        if not path.endswith("/AssetPairs"):
            return None
        pairs = {}
        for symbol in symbols:
            base, quote = symbol.split("-")
            pairs[base + quote] = {
                **{"altname": base + quote, "wsname": f"{base}/{quote}", "aclass_base": "currency"},
                **{"base": base, "aclass_quote": "currency", "quote": quote, "lot": "unit"},
                **{"pair_decimals": 7, "lot_decimals": 8, "lot_multiplier": 1, "fees": []},
                **{"leverage_buy": [], "leverage_sell": [], "fees_maker": [], "ordermin": "1"},
                **{"tick_size": "0.0000001", "cost_decimals": 8, "costmin": "0.5"},
                **{"margin_call": 80, "margin_stop": 40, "status": "online"},
            }
        return {"error": [], "result": pairs}

    def asked(self, query: dict[str, str], now_ms: int) -> tuple[str, int, int]:
        first = int(query["since"]) * 1000 + MINUTE_MS
        return query["pair"].removesuffix("USDT") + "-USDT", first, now_ms

    def candles(self, symbol: str, candles: list[Candle]) -> Any:
        rows = [
            [
                *(c.open_time // 1000, str(c.open), str(c.high), str(c.low), str(c.close)),
                *(repr(c.average), repr(c.volume), c.trades),
            ]
            for c in candles
        ]
        return {"error": [], "result": {symbol.replace("-", ""): rows, "last": 0}}

    def subscribed(self, message: dict[str, Any]) -> tuple[list[str], list[Any]]:
        names = message["params"]["symbol"]
        answers = [
            {"method": "subscribe", "success": True, "req_id": message["req_id"]}
            | {"result": {"channel": "ohlc", "symbol": name, "interval": 1, "snapshot": False}}
            for name in names
        ]
        return [name.replace("/", "-") for name in names], answers

    def told(self, symbol: str, candle: Candle, closed: bool) -> dict[str, Any]:
        c = candle
        began = datetime.fromtimestamp(c.open_time // 1000, UTC)
        times = {
            "interval_begin": f"{began:%Y-%m-%dT%H:%M:%S}.000000000Z",
            "timestamp": f"{began:%Y-%m-%dT%H:%M:%S}.000000Z",
        }
        data = {"symbol": symbol.replace("-", "/"), "open": c.open, "high": c.high, "low": c.low}
        data |= {"close": c.close, "trades": c.trades, "volume": c.volume, "vwap": c.average}
        return {"channel": "ohlc", "type": "update", "data": [{**data, "interval": 1, **times}]}


class Okx(Protocol):
    name = "okx"

    def listed(self, path: str, symbols: list[str]) -> Any:
        if not path.endswith("/instruments"):
            return None
        found = []
        for symbol in symbols:
            base, quote = symbol.split("-")
            found.append(
                {"instId": symbol, "instType": "SPOT", "baseCcy": base, "quoteCcy": quote}
                | {"lotSz": "0.00000001", "minSz": "0.00001", "tickSz": "0.1", "state": "live"}
                | {"lever": "1", "ctType": "", "ctVal": "", "expTime": "", "settleCcy": ""}
            )
        return {"code": "0", "msg": "", "data": found}

    def asked(self, query: dict[str, str], now_ms: int) -> tuple[str, int, int]:
        return query["instId"], int(query["before"]) + 1, int(query["after"]) - 1

    def candles(self, symbol: str, candles: list[Candle]) -> Any:
        return {"code": "0", "msg": "", "data": [self._row(c, True) for c in reversed(candles)]}

    def _row(self, c: Candle, closed: bool) -> list[str]:
        prices = [str(value) for value in (c.open, c.high, c.low, c.close)]
        volumes = [str(c.volume), str(c.quote), str(c.quote)]
        return [str(c.open_time), *prices, *volumes, str(int(closed))]

    def subscribed(self, message: dict[str, Any]) -> tuple[list[str], list[Any]]:
        answers = [{"event": "subscribe", "arg": one, "connId": "a"} for one in message["args"]]
        return [one["instId"] for one in message["args"]], answers

    def told(self, symbol: str, candle: Candle, closed: bool) -> dict[str, Any]:
        about = {"channel": "candle1m", "instId": symbol}
        return {"arg": about, "data": [self._row(candle, closed)]}


class ExchangeServer:
    """One exchange on a free loopback port, driven from the thread of the test.

    `lag_ms` is how long after its close REST has a candle as it stays; `away` refuses websockets.
    `met` counts the websockets that are subscribed to all that one connection has, or refused.
    """

    def __init__(self, protocol: Protocol, symbols: list[str], clock: Clock) -> None:
        self.protocol, self.symbols, self.clock = protocol, symbols, clock
        self.market = Market(clock)
        self.away = False
        self.met = 0
        self.calls = 0
        self._loop = asyncio.new_event_loop()
        self._sockets: dict[web.WebSocketResponse, tuple[asyncio.Event, set[str]]] = {}
        self._numbers = count()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._do(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def say(self, *messages: dict[str, Any] | str) -> None:
        """Tell all who are subscribed to anything, and wait until they have read it."""
        self._do(self._say([(None, m if isinstance(m, str) else json.dumps(m)) for m in messages]))

    def close(self, candles: dict[str, Candle]) -> None:
        """Tell those who are subscribed to them that these candles are closed, all at once."""
        told = [(s, json.dumps(self.protocol.told(s, c, True))) for s, c in candles.items()]
        self._do(self._say(told))

    def cut(self) -> int:
        """Close every websocket; how many they were."""
        return int(self._do(self._cut()))

    def truth(self, symbol: str, first_ms: int, last_ms: int) -> list[Candle]:
        return list(self.market.candles(symbol, first_ms, last_ms))

    def _do(self, coroutine: Any) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return future.result(PATIENT_S)

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0]
        self.url = f"http://{host}:{port}"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._listen(request)
        if request.path.endswith("/time"):
            return web.json_response({"serverTime": self.clock.now_ms() + 250})
        listed = self.protocol.listed(request.path, self.symbols)
        if listed is not None:
            return web.json_response(listed)
        self.calls += 1
        now_ms = self.clock.now_ms()
        symbol, first_ms, last_ms = self.protocol.asked(dict(request.query), now_ms)
        found = self.truth(symbol, first_ms, min(last_ms, now_ms))
        so_far = [c if c.open_time + MINUTE_MS <= now_ms else c.so_far(0.3) for c in found]
        return web.json_response(self.protocol.candles(symbol, so_far))

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        if self.away:
            self.met += 1
            return web.Response(status=503)
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        subscribed: set[str] = set()
        async for message in socket:
            if message.type is WSMsgType.PONG and socket in self._sockets:
                self._sockets[socket][0].set()
            elif message.type is WSMsgType.PING:
                await socket.pong(message.data)
            elif message.type is WSMsgType.TEXT:
                await self._told(socket, message.data, subscribed)
        self._sockets.pop(socket, None)
        return socket

    async def _told(self, socket: web.WebSocketResponse, text: str, subscribed: set[str]) -> None:
        if text == "ping":
            await socket.send_str("pong")
            return
        message = json.loads(text)
        if message.get("method") == "ping":
            return
        symbols, answers = self.protocol.subscribed(message)
        for answer in answers:
            await socket.send_json(answer)
        subscribed |= set(symbols)
        if len(subscribed) == min(MOST_SERIES, len(self.symbols)):
            self._sockets[socket] = (asyncio.Event(), subscribed)
            self.met += 1

    async def _say(self, messages: Sequence[tuple[str | None, str]]) -> None:
        sockets = list(self._sockets)
        await asyncio.gather(*(self._say_to(socket, messages) for socket in sockets))

    async def _say_to(
        self, socket: web.WebSocketResponse, messages: Sequence[tuple[str | None, str]]
    ) -> None:
        read, symbols = self._sockets[socket]
        read.clear()
        try:
            for symbol, message in messages:
                if symbol is None or symbol in symbols:
                    await socket.send_str(message)
            await socket.ping(str(next(self._numbers)).encode())
            await asyncio.wait_for(read.wait(), PATIENT_S)
        except ConnectionError:
            self._sockets.pop(socket, None)

    async def _cut(self) -> int:
        sockets = list(self._sockets)
        self._sockets.clear()
        for socket in sockets:
            await socket.close()
        return len(sockets)


PROTOCOLS: dict[str, Callable[[], Protocol]] = {p.name: p for p in (Binance, Kraken, Okx)}
