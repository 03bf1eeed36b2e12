"""Any exchange that ccxt speaks to, without a key: `exchange:binance`, `exchange:kraken` ..."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from traceback import walk_tb
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import ccxt

from conf.errors import (
    CandlecastError,
    ConfigurationError,
    NotOffered,
    RateLimited,
    SourceUnavailable,
)
from conf.symbol import market_of
from conf.timeframes import TIMEFRAME_MS
from ingest.sources import Source, SourceOptions, Terms, not_served
from ingest.sources.candles import FORMS, Form, optional
from ingest.sources.rows import listed, whole

# Asked for at once where ccxt does not say how many candles an exchange gives.
PAGE_BARS: Final = 500
# A trade of the last millisecond takes a moment to be counted.
CACHE_S: Final = 1.0

# An exchange's error may be a whole page of HTML.
SAID_CHARACTERS: Final = 300
# Perpetual ones, by the names of the exchanges.
CONTRACTS: Final = ("swap", "linear", "inverse", "contract")
# What ccxt falls over where a row is of another form than promised.
UNREADABLE: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
# ccxt's errors, the special before the general, and ours.
ERRORS: Final[tuple[tuple[type[Exception], type[Exception]], ...]] = (
    (ccxt.BadSymbol, NotOffered),
    (ccxt.NotSupported, ConfigurationError),
    (ccxt.ArgumentsRequired, ConfigurationError),
    (ccxt.DDoSProtection, RateLimited),
    (ccxt.RateLimitExceeded, RateLimited),
    (ccxt.PermissionDenied, ConfigurationError),
    (ccxt.AuthenticationError, ConfigurationError),
    (ccxt.BaseError, SourceUnavailable),
)


class Exchange(Source):
    """Bars of one exchange; one where nobody traded is absent, as gaps are normal there.

    BASE-QUOTE is a spot market, BASE-QUOTE:SETTLE a perpetual contract.
    """

    def __init__(self, options: SourceOptions) -> None:
        if options.argument not in ccxt.exchanges:
            raise ConfigurationError(
                f"ingest.source exchange:{options.argument} is unknown to ccxt; there are"
                f" {', '.join(ccxt.exchanges[:5])} and {len(ccxt.exchanges) - 5} more"
            )
        super().__init__(f"exchange:{options.argument}", options)
        self._form = FORMS.get(options.argument, Form())
        # The calls are spaced by our own budget: ccxt's would sleep inside a worker.
        self._exchange: Any = getattr(ccxt, options.argument)(
            {"enableRateLimit": False, "timeout": int(options.timeout_s * 1000)}
        )
        if not self._exchange.has.get("fetchOHLCV"):
            raise ConfigurationError(f"ingest.source {self.name}: ccxt knows no candles of it")
        # Each kind of market takes a call of its own.
        markets = self._exchange.options.get("fetchMarkets")
        kinds = markets.get("types") if isinstance(markets, dict) else None
        self._kinds = kinds if isinstance(kinds, list) else []
        self._contracts = [kind for kind in self._kinds if kind in CONTRACTS]
        if "spot" in self._kinds:
            self._kinds[:] = ["spot"]
        if type(self._exchange).parse_ohlcvs is ccxt.Exchange.parse_ohlcvs:
            self._exchange.parse_ohlcvs = self._each_by_itself
        self._exchange.urls["api"] = _moved(self._exchange.urls["api"], options.base_url)
        self._markets = threading.Lock()

    def terms(self, timeframe: str) -> Terms:
        """Of the timeframes that ccxt names; an exchange may answer without bars that are old."""
        offered = self._exchange.timeframes
        if offered and timeframe not in offered:
            raise not_served(self.name, timeframe, f"there are {', '.join(offered)}")
        return Terms(page_bars(self._exchange.features or {}), cache_s=CACHE_S)

    def named(self, symbol: str) -> str:
        """The symbol as the exchange's list of markets has it, whatever its case is here."""
        market = market_of(symbol)
        unified = market.replace("-", "/")
        with self._ours(symbol):
            self._load_markets(contract=":" in market)
        markets = self._exchange.markets or {}
        alike = [name for name in markets if name.casefold() == unified.casefold()]
        if unified in markets or not alike:
            return symbol
        if len(alike) > 1:
            raise ConfigurationError(f"ingest.symbols: {symbol} may be any of {', '.join(alike)}")
        return symbol.removesuffix(market) + str(alike[0]).replace("/", "-")

    def rows(self, symbol: str, timeframe: str, first_ms: int, last_ms: int) -> list[Any]:
        """Ask once for the candles, with what `FORMS` knows to be in them."""
        count = (last_ms - first_ms) // TIMEFRAME_MS[timeframe] + 1
        with self._ours(symbol):
            market = symbol.replace("-", "/")
            self._load_markets(contract=":" in symbol, wanted=market)
            rows = self._exchange.fetch_ohlcv(market, timeframe, first_ms, count)
        return listed(rows)

    @property
    def can_listen(self) -> bool:
        """Whether ccxt.pro watches candles of the exchange."""
        from ingest.sources import websocket  # who only polls needs none of it

        return websocket.can_watch(self._exchange.id)

    def clock_off_ms(self) -> int | None:
        """By the exchange's own time, seen half-way between question and answer."""
        if not self._exchange.has.get("fetchTime"):
            return None
        began_ms = self._options.clock.now_ms()
        with self._ours("time"):
            told_ms = whole(self._exchange.fetch_time())
        return None if told_ms is None else told_ms - (began_ms + self._options.clock.now_ms()) // 2

    def listen(self, series: Sequence[tuple[str, str]], put: Callable[[Any], None]) -> Any:
        """By ccxt.pro, where it watches candles of the exchange."""
        from ingest.sources import websocket

        if not self.can_listen:
            return None
        with self._ours("live"):
            self._load_markets(contract=any(":" in market_of(symbol) for symbol, _ in series))
        return websocket.Streams(
            self._exchange.id,
            series,
            put,
            clock=self._options.clock,
            markets=self._exchange.markets,
            timeout_s=self._options.timeout_s,
            moved=lambda urls: _moved(urls, self._options.base_url),
        )

    def _load_markets(self, *, contract: bool, wanted: str | None = None) -> None:
        """Load the list of markets once, and again where a market is wanted that it lacks.

        Raises SourceUnavailable where the list is empty.
        """
        with self._markets:
            if contract and self._contracts:
                self._kinds[:] = dict.fromkeys([*self._kinds, *self._contracts])
                self._exchange.load_markets(True)
                self._contracts = []
            found = self._exchange.load_markets()
            if wanted is not None and found and wanted not in found:
                found = self._exchange.load_markets(True)
        if found == {}:
            raise SourceUnavailable(f"{self.name} lists no market")

    @contextmanager
    def _ours(self, symbol: str) -> Iterator[None]:
        """Raise one of our errors where ccxt fails in the block."""
        try:
            yield
        except Exception as error:
            ours = mapped(error, f"{self.name} {symbol}")
            if ours is error:
                raise
            raise ours from error

    def _each_by_itself(self, rows: Any, market: Any = None, *_: Any) -> list[Any]:
        """In place of ccxt's: a row that it can't read spoils no other, and none is left out."""
        return [self._row(row, market) for row in rows or ()]

    def _row(self, row: Any, market: Any) -> list[Any]:
        try:
            time, *values = self._exchange.parse_ohlcv(row, market)[:6]
        except UNREADABLE:
            time, values = None, []
        with suppress(*UNREADABLE):  # what a shorter row lacks is not known
            values += optional(self._form.by_rest(row, market or {}))
        return [repr(row) if time is None else time, *values]


def page_bars(features: Any) -> int:
    """The most candles that an exchange gives in one answer, by ccxt's description of it.

    >>> page_bars({"spot": {"fetchOHLCV": {"limit": 300}}, "swap": {"linear": None}}), page_bars({})
    (300, 500)
    """
    limits = []
    for kind in ("spot", "swap"):
        market = features.get(kind) or {}
        for described in (market, market.get("linear") or {}, market.get("inverse") or {}):
            limits.append((described.get("fetchOHLCV") or {}).get("limit"))
    return min((limit for limit in limits if limit), default=PAGE_BARS)


def mapped(error: Exception, where: str) -> Exception:
    """Our error for one that came out of ccxt; its type tells which.

    ccxt trusts an answer's form, so what it falls over is an answer that can't be read; an error
    that does not come from its code is one of ours, and stays.

    >>> mapped(ccxt.RateLimitExceeded("slow down"), "exchange:example BTC-USD")
    RateLimited('exchange:example BTC-USD: RateLimitExceeded: slow down')
    """
    if isinstance(error, CandlecastError):
        return error
    said = f"{type(error).__name__}: {str(error)[:SAID_CHARACTERS]}"
    for theirs, ours in ERRORS:
        if isinstance(error, theirs):
            return ours(f"{where}: {said}")
    modules = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
    if any(module.partition(".")[0] == "ccxt" for module in modules):
        return SourceUnavailable(f"{where}: unreadable: {said}")
    return error


def _moved(urls: Any, base_url: str | None) -> Any:
    """The same paths on another host, if there is one."""
    if base_url is None:
        return urls
    if isinstance(urls, dict):
        return {name: _moved(url, base_url) for name, url in urls.items()}
    if not isinstance(urls, str):
        return urls
    base, was = urlsplit(base_url), urlsplit(urls)
    scheme = base.scheme.replace("http", "ws") if was.scheme in ("ws", "wss") else base.scheme
    return urlunsplit((scheme, base.netloc, was.path, "", ""))
