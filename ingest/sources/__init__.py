"""Where bars come from: one module a source, one line a source in SOURCES."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Final, Protocol

from conf.errors import ConfigurationError
from ingest.article import Article
from ingest.bar import Bar
from ingest.clock import Clock

# `name` or `name:ARGUMENT` on the command line. Modules are imported when asked for: ccxt alone
# takes seconds.
SOURCES: Final = {
    "cryptocompare": "ingest.sources.cryptocompare:CryptoCompare",
    "coindesk": "ingest.sources.coindesk:CoinDesk",
    "exchange": "ingest.sources.exchange:Exchange",
    "synthetic": "ingest.sources.synthetic:Synthetic",
}

NEWS: Final = {
    "cryptocompare": "ingest.sources.cryptocompare_news:CryptoCompareNews",
    "coindesk": "ingest.sources.coindesk_news:CoinDeskNews",
}


class Source(Protocol):
    """Answers for any stretch of any symbol's bars, from several threads at once."""

    @property
    def name(self) -> str:
        """What a bar's `source` says."""
        ...

    @property
    def metered(self) -> bool:
        """Whether its calls count against `ingest.calls_per`."""
        ...

    def page_bars(self, timeframe: str) -> int:
        """The most bars that one `fetch` may ask for."""
        ...

    def keeps_ms(self, timeframe: str) -> int | None:
        """How far back history reaches, in milliseconds; None for all of it."""
        ...

    def cache_s(self, timeframe: str) -> float:
        """How old an answer may be, in seconds: a bar is final only that long after its close."""
        ...

    def fetch(self, symbol: str, timeframe: str, first_ms: int, last_ms: int) -> list[Bar]:
        """Ask once for the bars with `first_ms <= open_time <= last_ms`, ascending.

        Bars that the source does not have are absent; bars that break a rule are returned as they
        came. Raises RetryLater (ask again later), NotOffered (never for this symbol) or
        ConfigurationError (a person has to act).
        """
        ...


class NewsSource(Protocol):
    """Lists a provider's articles, newest first."""

    @property
    def name(self) -> str:
        """What an article's `provider` says."""
        ...

    def fetch(self, to_ms: int) -> list[Article]:
        """Ask once for the newest articles published at or before `to_ms` (epoch ms).

        None where the provider lists none. Raises what `Source.fetch` may raise.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """What a source may need; `argument` is what follows the colon of its name."""

    clock: Clock
    argument: str = ""
    api_key: str | None = None
    base_url: str | None = None
    timeout_s: float = 8.0
    count_call: Callable[[], None] = lambda: None

    def __repr__(self) -> str:
        return f"SourceOptions(argument={self.argument!r}, base_url={self.base_url!r})"


def open_source(name: str, options: SourceOptions) -> Source:
    """Make the source `name`, or `name:ARGUMENT`; raises ConfigurationError where there is none.

    >>> from ingest.clock import SystemClock
    >>> open_source("synthetic:7", SourceOptions(clock=SystemClock())).name
    'synthetic:7'
    """
    kind, _, argument = name.partition(":")
    if kind not in SOURCES:
        raise ConfigurationError(
            f"ingest.source {kind!r} is unknown; there are {', '.join(sorted(SOURCES))}, recorded"
        )
    made: Source = _attribute(SOURCES[kind])(replace(options, argument=argument))
    return made


def open_news(name: str, options: SourceOptions) -> NewsSource:
    """Make the news source that goes with the source `name`; raises ConfigurationError."""
    kind = name.partition(":")[0]
    if kind not in NEWS:
        raise ConfigurationError(
            f"ingest.news_every_s: {kind} has no news; {' and '.join(sorted(NEWS))} do"
        )
    made: NewsSource = _attribute(NEWS[kind])(options)
    return made


def _attribute(place: str) -> Callable[[SourceOptions], Any]:
    module, _, name = place.partition(":")
    made: Callable[[SourceOptions], Any] = getattr(import_module(module), name)
    return made
