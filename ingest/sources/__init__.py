"""Where bars and news come from: a class and a line in SOURCES for each source."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Final, NamedTuple, Protocol

from conf.errors import ConfigurationError
from conf.symbol import market_of
from ingest.article import Article
from ingest.clock import Clock
from ingest.sources.rows import Answer, Span, answer_of

# `name` or `name:ARGUMENT` on the command line. Modules are imported when asked for: ccxt alone
# takes seconds.
SOURCES: Final = {
    "cryptocompare": "ingest.sources.ccdata:CryptoCompare",
    "coindesk": "ingest.sources.ccdata:CoinDesk",
    "exchange": "ingest.sources.exchange:Exchange",
    "synthetic": "ingest.sources.synthetic:Synthetic",
}


@dataclass(frozen=True, slots=True)
class Terms:
    """How a source serves the bars of one timeframe.

    `page_bars` is the most that one `fetch` may ask for. `keeps_ms` is how far back history
    reaches, None for all of it. An answer may be `cache_s` old: a bar is final only that long
    after its close.
    """

    page_bars: int
    keeps_ms: int | None = None
    cache_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """What a source may need; `argument` is what follows the colon of its name."""

    clock: Clock
    argument: str = ""
    base_url: str | None = None
    timeout_s: float = 8.0


class Closed(NamedTuple):
    """A candle of a symbol and timeframe that is closed, as a row, heard at `heard_ms`."""

    series: tuple[str, str]
    row: list[Any]
    heard_ms: int


class Cut(NamedTuple):
    """The connection `number` is gone, in its `life`-th life; `refused` where it will be again."""

    number: int
    life: int
    reason: str
    refused: bool = False


class Stream(Protocol):
    """Connections that tell candles as they close, each for one of `groups` of series.

    What is heard is `Closed`, a connection's end `Cut`. `heard_at` is when each connection told
    something last (ms, of the monotonic clock).
    """

    groups: Sequence[Sequence[tuple[str, str]]]
    heard_at: Mapping[int, int]

    def open(self, number: int, life: int) -> None:
        """Connect one of `groups`, again where it was connected before."""

    def close(self) -> None:
        """Close all, and leave no thread behind."""


class Source(ABC):
    """Answers for any range of any symbol's bars, from several threads at once.

    `name` is what a bar's `source` says; the calls of a `metered` source count against
    `ingest.calls_per`.
    """

    metered = True

    def __init__(self, name: str, options: SourceOptions) -> None:
        self.name = name
        self._options = options

    @abstractmethod
    def terms(self, timeframe: str) -> Terms:
        """How bars of `timeframe` are served; raises ConfigurationError where they are not."""

    def named(self, symbol: str) -> str:
        """The symbol as the source writes it.

        A source without a list of its own has what is all in small letters in capitals. Raises what
        `fetch` raises.
        """
        return symbol.upper() if symbol.islower() else symbol

    @abstractmethod
    def rows(
        self, symbol: str, timeframe: str, first_ms: int, last_ms: int
    ) -> Iterable[Sequence[Any]]:
        """Ask once for at least the bars with `first_ms <= open_time <= last_ms`.

        A row is open time (ms), open, high, low, close, base volume, and `OPTIONAL` of
        `ingest.bar`, each None or left off where the source lacks it; later rows win. One of the
        time alone says that there is nothing. The symbol comes without a venue. Raises what `fetch`
        raises; any other error ends the program.
        """

    def listen(
        self, series: Sequence[tuple[str, str]], put: Callable[[Any], None]
    ) -> Stream | None:
        """Candles of symbols and timeframes as they close, told to `put`; None without such."""
        return None

    @property
    def can_listen(self) -> bool:
        """Whether `listen` has something to tell."""
        return False

    def clock_off_ms(self) -> int | None:
        """The source's clock less ours, ms; None where it does not tell. Raises RetryLater."""
        return None

    def fetch(self, symbol: str, timeframe: str, first_ms: int, last_ms: int) -> Answer:
        """Ask once for the bars with `first_ms <= open_time <= last_ms`.

        Raises RetryLater (ask again later), NotOffered (not for this symbol) or ConfigurationError
        (a person has to act).
        """
        rows = list(self.rows(market_of(symbol), timeframe, first_ms, last_ms))
        seen = (self.name, self._options.clock.now_ms())
        return answer_of(rows, (symbol, timeframe), Span(first_ms, last_ms), seen)


class NewsSource(Source):
    """A source that lists articles too; `provider` is what an article's `provider` says."""

    provider: str

    @abstractmethod
    def articles(self, to_ms: int) -> list[Article]:
        """Ask once for the newest articles published at or before `to_ms` (epoch ms).

        Newest first; empty where there are none. Raises what `Source.fetch` may raise.
        """


def open_source(name: str, options: SourceOptions) -> Source:
    """Make the source `name`, or `name:ARGUMENT`; raises ConfigurationError where there is none.

    >>> from ingest.clock import Clock
    >>> open_source("synthetic:7", SourceOptions(clock=Clock())).name
    'synthetic:7'
    """
    kind, _, argument = name.partition(":")
    if kind not in SOURCES:
        raise ConfigurationError(
            f"ingest.source {kind!r} is unknown; there are {', '.join(sorted(SOURCES))}, recorded"
        )
    module, _, made = SOURCES[kind].partition(":")
    source: Source = getattr(import_module(module), made)(replace(options, argument=argument))
    return source


def not_served(source: str, timeframe: str, served: str) -> ConfigurationError:
    """The error where `source` has no bars of `timeframe`; `served` says which it has."""
    return ConfigurationError(f"ingest.intervals: {source} has no bars of {timeframe}: {served}")
