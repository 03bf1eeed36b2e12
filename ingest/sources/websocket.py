"""Closed candles of an exchange as they close, by ccxt.pro's websockets.

One thread has the loop of all connections; what closes is handed to `put`, from that thread. When
to connect again is not decided here (`ingest.live`).
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

import ccxt.pro
from aiohttp import WSMsgType

from conf.events import event
from conf.symbol import market_of
from ingest.clock import Clock
from ingest.sources import Closed, Cut
from ingest.sources.candles import FORMS, Candle, Form
from ingest.sources.rows import number, whole

log = logging.getLogger(__name__)

# Series of one connection: one that is cut takes so many with it. Binance's limit is 200.
MOST_SERIES: Final = 100
# Series of one message that subscribes, where an exchange limits them.
MOST_SUBSCRIBED: Final = {"bybit": 10}
# Between two such messages. Binance takes five a second, others at least three.
PAUSE_S: Final = 0.35
KEPT_CANDLES: Final = 3
# How long a connection may take to close.
CLOSE_S: Final = 2.0

# What ccxt will say again: there are no such candles, or not without a key.
REFUSED: Final = (ccxt.NotSupported, ccxt.AuthenticationError, ccxt.BadRequest)

Series = tuple[str, str]  # our symbol and timeframe


class Forming:
    """Of the candles of one series, as they are told, those that are closed.

    Where the exchange does not say which, it is the one before another begins, as it was told last.
    """

    def __init__(self) -> None:
        self._held: list[Any] | None = None

    def closed(self, row: list[Any], said: bool | None) -> list[Any] | None:
        """The candle that this one, or that it is the next, says to be closed.

        One that is older, or has less volume than was told already, comes late and says nothing.
        """
        if said is not None:
            return row if said else None
        held = self._held
        if held is not None and (row[0], number(row[5])) < (held[0], number(held[5])):
            return None
        self._held = row
        return held if held is not None and held[0] < row[0] else None


class Connection:
    """One instance of ccxt.pro, which watches some series of one kind of market and timeframe."""

    def __init__(self, streams: "Streams", number: int, life: int) -> None:
        self.series = streams.groups[number]
        self._streams, self._place = streams, (number, life)
        self._names = {unified(symbol): (symbol, tf) for symbol, tf in self.series}
        self._forming = {one: Forming() for one in self.series}
        self._exchange = self._made()
        self._kind = streams.kind_of(self.series[0])

    async def run(self) -> None:
        """Subscribe, and hand on what closes, until the connection is cut."""
        reason, refused = "closed", False
        try:
            await self._watch()
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            reason = f"{type(error).__name__}: {str(error)[:200]}"
            refused = isinstance(error, REFUSED)
        finally:  # who is told to end while it closes closes all the same
            await asyncio.wait([asyncio.ensure_future(self._exchange.close())], timeout=CLOSE_S)
        self._streams.put(Cut(*self._place, reason, refused))

    async def _watch(self) -> None:
        self._exchange.open()  # some exchanges of ccxt need the loop before they connect
        timeframe, names = self.series[0][1], list(self._names)
        most = MOST_SUBSCRIBED.get(self._exchange.id, MOST_SERIES)
        together = bool(self._exchange.has.get("watchOHLCVForSymbols"))
        step = most if together else 1
        groups = [names[at : at + step] for at in range(0, len(names), step)]
        tasks = []
        try:
            for group in groups:
                tasks.append(asyncio.ensure_future(self._subscribed(group, timeframe, together)))
                await asyncio.sleep(PAUSE_S if len(groups) > 1 else 0)
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _subscribed(self, names: list[str], timeframe: str, together: bool) -> None:
        """Watch for ever. Where the raw candles are taken as they come in, the first answer is
        enough: what is asked for then only tells that the connection is cut."""
        while True:
            if together:
                pairs = [[name, timeframe] for name in names]
                found = await self._exchange.watch_ohlcv_for_symbols(pairs)
            else:
                rows = await self._exchange.watch_ohlcv(names[0], timeframe)
                found = {names[0]: {timeframe: rows}}
            if self._streams.form.by_websocket is not None:
                clients = list(self._exchange.clients.values())
                await asyncio.gather(*(client.future("cut") for client in clients))
            for name, by_timeframe in found.items():
                for row in by_timeframe.get(timeframe, ()):
                    self._told(name, list(row[:6]), None)

    def _taken(self, message: Any) -> None:
        """Hand on the candles of a raw message."""
        assert self._streams.form.by_websocket is not None
        for candle in self._streams.form.by_websocket(message, self._kind):
            self._told(self._name(candle), candle.row, candle.closed)

    def _name(self, candle: Candle) -> str | None:
        if self._exchange.find_timeframe(candle.timeframe) != self.series[0][1]:
            return None
        kind = "spot" if self._kind == "spot" else "contract"
        return str(self._exchange.safe_symbol(candle.market, None, None, kind))

    def _told(self, name: str | None, row: list[Any], said: bool | None) -> None:
        series = self._names.get(name) if name else None
        at = whole(row[0])
        if series is None or at is None:
            return
        self._streams.heard_at[self._place[0]] = self._streams.clock.monotonic_ms()
        closed = self._forming[series].closed([at, *row[1:]], said)
        if closed is not None:
            self._streams.put(Closed(series, closed, self._streams.clock.now_ms()))

    def _made(self) -> Any:
        """ccxt's class, of which a message that can't be read ends nothing."""
        streams, taken = self._streams, self._taken
        base: Any = getattr(ccxt.pro, streams.name)

        class Watching(base):  # type: ignore[misc]
            def handle_ohlcv(self, client: Any, message: Any) -> None:
                if streams.form.by_websocket is not None:
                    taken(message)
                super().handle_ohlcv(client, message)

            def client(self, url: str) -> Any:
                known = url in (self.clients or {})
                client = super().client(url)
                if not known:
                    client.handle_message = _forgiving(client.handle_message, streams.name)
                return client

        # ccxt keeps candles that nobody reads.
        options = {"OHLCVLimit": KEPT_CANDLES}
        timeout_ms = int(streams.timeout_s * 1000)
        exchange = Watching({"enableRateLimit": True, "timeout": timeout_ms, "options": options})
        exchange.timeout_on_exit = 0
        exchange.set_markets(streams.markets)
        exchange.urls["api"] = streams.moved(exchange.urls["api"])
        return exchange


def _forgiving(handle: Callable[[Any], None], name: str) -> Callable[[Any], None]:
    """ccxt's handler of messages, which reads on behind one that it falls over."""

    def handled(message: Any) -> None:
        try:
            handle(message)
        except Exception as error:
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR):
                raise
            reason = f"{type(error).__name__}: {str(error)[:100]}"
            event(log, "message_unreadable", level=logging.WARNING, source=name, reason=reason)

    return handled


class Streams:
    """The connections of one exchange, on a thread of their own.

    `markets` are those that the source knows, `moved` puts addresses on the host of its settings.
    `heard_at` is when each connection told something last (ms, of the monotonic clock).
    """

    def __init__(
        self,
        name: str,
        series: Iterable[Series],
        put: Callable[[Closed | Cut], None],
        *,
        clock: Clock,
        markets: Any,
        timeout_s: float,
        moved: Callable[[Any], Any],
    ) -> None:
        self.name, self.put, self.clock = name, put, clock
        self.form = FORMS.get(name, Form())
        self.markets, self.timeout_s = markets, timeout_s
        self.moved = moved
        # ccxt refuses a whole group for one that it does not know; that one is left to the polls.
        listed = [one for one in series if unified(one[0]) in markets]
        self.groups = grouped(listed, self.kind_of)
        self.heard_at: dict[int, int] = {}
        self._loop = asyncio.new_event_loop()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._thread = threading.Thread(target=self._loop.run_forever, name="live", daemon=True)
        self._thread.start()

    def kind_of(self, series: Series) -> str:
        """`spot`, `linear` or `inverse`, by the exchange's list of markets."""
        market = self.markets.get(unified(series[0])) or {}
        kinds = ("inverse", "linear")
        return next((k for k in kinds if market.get("contract") and market.get(k)), "spot")

    def open(self, number: int, life: int) -> None:
        """Connect the group `number`; that of a former life is closed."""

        async def begin() -> None:
            await self._shut([number])
            self._tasks[number] = self._loop.create_task(Connection(self, number, life).run())

        asyncio.run_coroutine_threadsafe(begin(), self._loop)

    def close(self) -> None:
        """Close all; nothing of it is left behind."""
        done = asyncio.run_coroutine_threadsafe(self._shut(list(self._tasks)), self._loop)
        with suppress(Exception):
            done.result(CLOSE_S + 1)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_S)
        if not self._thread.is_alive():
            self._loop.close()

    async def _shut(self, numbers: Sequence[int]) -> None:
        tasks = [self._tasks.pop(number) for number in numbers if number in self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def unified(symbol: str) -> str:
    """The symbol as ccxt writes it."""
    return market_of(symbol).replace("-", "/")


def can_watch(name: str) -> bool:
    """Whether ccxt.pro has candles of an exchange."""
    return name in ccxt.pro.exchanges and bool(getattr(ccxt.pro, name)().has.get("watchOHLCV"))


def grouped(series: Iterable[Series], kind_of: Callable[[Series], str]) -> list[list[Series]]:
    """The series in their order, those of one kind and timeframe together, a connection each."""
    alike: dict[tuple[str, str], list[Series]] = {}
    for one in series:
        alike.setdefault((kind_of(one), one[1]), []).append(one)
    return [
        group[at : at + MOST_SERIES]
        for group in alike.values()
        for at in range(0, len(group), MOST_SERIES)
    ]
