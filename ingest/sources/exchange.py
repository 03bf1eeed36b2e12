"""Any exchange that ccxt speaks to, without a key: `exchange:binance`, `exchange:kraken` ..."""

import threading
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import ccxt

from conf.errors import ConfigurationError, NotOffered, RateLimited, SourceUnavailable
from conf.timeframes import TIMEFRAME_MS
from ingest.sources import UNREADABLE, Source, SourceOptions, Terms, not_served

# What every exchange serves in one answer; asking for more makes some of them answer with fewer.
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


class Exchange(Source):
    """Spot bars of one exchange; one where nobody traded is absent, as gaps are normal there."""

    def __init__(self, options: SourceOptions) -> None:
        if options.argument not in ccxt.exchanges:
            raise ConfigurationError(
                f"ingest.source exchange:{options.argument} is unknown to ccxt; there are"
                f" {', '.join(ccxt.exchanges[:5])} and {len(ccxt.exchanges) - 5} more"
            )
        super().__init__(f"exchange:{options.argument}", options)
        # The calls are spaced by our own budget: ccxt's would sleep inside a worker.
        self._exchange: Any = getattr(ccxt, options.argument)(
            {"enableRateLimit": False, "timeout": int(options.timeout_s * 1000)}
        )
        self._exchange.options["fetchMarkets"] = {"types": ["spot"]}
        if options.base_url:
            self._exchange.urls["api"] = _moved(self._exchange.urls["api"], options.base_url)
        self._markets = threading.Lock()

    def terms(self, timeframe: str) -> Terms:
        """Of the timeframes that ccxt names; an exchange may answer without bars that are old."""
        offered = self._exchange.timeframes
        if offered and timeframe not in offered:
            raise not_served(self.name, timeframe, f"there are {', '.join(offered)}")
        return Terms(PAGE_BARS, cache_s=CACHE_S)

    def rows(self, symbol: str, timeframe: str, first_ms: int, last_ms: int) -> list[Sequence[Any]]:
        """Ask once for the candles; none tells its quote volume."""
        count = (last_ms - first_ms) // TIMEFRAME_MS[timeframe] + 1
        try:
            with self._markets:
                self._exchange.load_markets()  # once
            rows = self._exchange.fetch_ohlcv(symbol.replace("-", "/"), timeframe, first_ms, count)
            return [[*row[:6], None] for row in rows]
        except ccxt.BaseError as error:
            raise mapped(error, f"{self.name} {symbol}") from error
        except UNREADABLE as error:  # ccxt trusts an answer's form
            raise SourceUnavailable(f"{self.name} {symbol}: unreadable: {error!r}") from error


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
