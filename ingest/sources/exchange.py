"""Any exchange that ccxt speaks to, without a key: `exchange:binance`, `exchange:kraken` ..."""

import threading
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import ccxt

from conf.errors import ConfigurationError, NotOffered, RateLimited, SourceUnavailable
from conf.timeframes import TIMEFRAME_MS
from ingest.bar import Bar
from ingest.sources import SourceOptions

# What every exchange serves in one answer; asking for more makes some of them cut the stretch.
PAGE_BARS: Final = 500
# A trade of the last millisecond takes a moment to be counted.
CACHE_S: Final = 1.0

# ccxt's errors, the special before the general, and ours.
ERRORS: Final[tuple[tuple[type[Exception], type[Exception]], ...]] = (
    (ccxt.BadSymbol, NotOffered),
    (ccxt.NotSupported, NotOffered),
    (ccxt.DDoSProtection, RateLimited),
    (ccxt.RateLimitExceeded, RateLimited),
    (ccxt.PermissionDenied, ConfigurationError),
    (ccxt.AuthenticationError, ConfigurationError),
    (ccxt.BaseError, SourceUnavailable),
)


class Exchange:
    """Spot bars of one exchange; one where nobody traded is absent, as gaps are normal there."""

    metered = True

    def __init__(self, options: SourceOptions) -> None:
        if options.argument not in ccxt.exchanges:
            raise ConfigurationError(
                f"ingest.source exchange:{options.argument} is unknown to ccxt; there are"
                f" {', '.join(ccxt.exchanges[:5])} and {len(ccxt.exchanges) - 5} more"
            )
        self.name = f"exchange:{options.argument}"
        self._clock = options.clock
        self._count_call = options.count_call
        # The calls are spaced by our own budget: ccxt's would sleep inside a worker.
        self._exchange: Any = getattr(ccxt, options.argument)(
            {"enableRateLimit": False, "timeout": int(options.timeout_s * 1000)}
        )
        self._exchange.options["fetchMarkets"] = {"types": ["spot"]}
        if options.base_url:
            self._exchange.urls["api"] = _moved(self._exchange.urls["api"], options.base_url)
        self._markets = threading.Lock()

    def page_bars(self, timeframe: str) -> int:
        """The most bars that one `fetch` may ask for."""
        return PAGE_BARS

    def keeps_ms(self, timeframe: str) -> int | None:
        """Taken as all of it; an exchange that keeps less answers without the older bars."""
        return None

    def cache_s(self, timeframe: str) -> float:
        """How old an answer may be, in seconds."""
        return CACHE_S

    def fetch(self, symbol: str, timeframe: str, first_ms: int, last_ms: int) -> list[Bar]:
        """Ask once for the bars with `first_ms <= open_time <= last_ms`, ascending."""
        count = (last_ms - first_ms) // TIMEFRAME_MS[timeframe] + 1
        rows = self._call(symbol, timeframe, first_ms, count)
        now_ms = self._clock.now_ms()
        bars = [self._bar(row, symbol, timeframe, now_ms) for row in rows]
        found = {bar.open_time: bar for bar in bars if first_ms <= bar.open_time <= last_ms}
        return [found[time] for time in sorted(found)]

    def _call(self, symbol: str, timeframe: str, first_ms: int, count: int) -> list[Sequence[Any]]:
        try:
            with self._markets:
                if not self._exchange.markets:
                    self._count_call()
                    self._exchange.load_markets()
            self._count_call()
            rows = self._exchange.fetch_ohlcv(symbol.replace("-", "/"), timeframe, first_ms, count)
        except ccxt.BaseError as error:
            raise mapped(error, f"{self.name} {symbol}") from error
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # ccxt trusts an answer's form, and falls over one that is something else.
            raise SourceUnavailable(f"{self.name} {symbol}: unreadable: {error!r}") from error
        return list(rows)

    def _bar(self, row: Sequence[Any], symbol: str, timeframe: str, now_ms: int) -> Bar:
        try:
            open_, high, low, close, base = (float(value) for value in row[1:6])
            return Bar(
                *(symbol, timeframe, int(row[0]), open_, high, low, close, base, None),
                *(self.name, now_ms),
            )
        except (TypeError, ValueError, LookupError) as error:
            raise SourceUnavailable(f"a bar of {symbol} can't be read: {error!r}") from error


def mapped(error: Exception, where: str) -> Exception:
    """Our error for one of ccxt's; its type tells which.

    >>> mapped(ccxt.RateLimitExceeded("slow down"), "exchange:example BTC-USD")
    RateLimited('exchange:example BTC-USD: RateLimitExceeded: slow down')
    """
    ours = next(ours for theirs, ours in ERRORS if isinstance(error, theirs))
    return ours(f"{where}: {type(error).__name__}: {error}")


def _moved(urls: Any, base_url: str) -> Any:
    """The same paths on another host."""
    if isinstance(urls, dict):
        return {name: _moved(url, base_url) for name, url in urls.items()}
    if not isinstance(urls, str):
        return urls
    base, path = urlsplit(base_url), urlsplit(urls).path
    return urlunsplit((base.scheme, base.netloc, path, "", ""))
