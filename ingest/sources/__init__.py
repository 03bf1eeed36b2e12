"""Where bars and news come from: one module and one line in SOURCES for each source."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Final, Protocol, runtime_checkable

from conf.errors import ConfigurationError, SourceUnavailable
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


class Source(Protocol):
    """Answers for any range of any symbol's bars, from several threads at once.

    `name` is what a bar's `source` says; the calls of a `metered` source count against
    `ingest.calls_per`.
    """

    name: str
    metered: bool

    def terms(self, timeframe: str) -> Terms:
        """How bars of `timeframe` are served; raises ConfigurationError where they are not."""
        ...

    def fetch(self, symbol: str, timeframe: str, first_ms: int, last_ms: int) -> list[Bar]:
        """Ask once for the bars with `first_ms <= open_time <= last_ms`, ascending.

        Bars that the source does not have are absent; bars that break a rule are returned as they
        are. Raises RetryLater (ask again later), NotOffered (never for this symbol) or
        ConfigurationError (a person has to act).
        """
        ...


@runtime_checkable
class NewsSource(Protocol):
    """A source that lists articles too; `provider` is what an article's `provider` says."""

    provider: str

    def articles(self, to_ms: int) -> list[Article]:
        """Ask once for the newest articles published at or before `to_ms` (epoch ms).

        Newest first; empty where there are none. Raises what `Source.fetch` may raise.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """What a source may need; `argument` is what follows the colon of its name."""

    clock: Clock
    argument: str = ""
    base_url: str | None = None
    timeout_s: float = 8.0
    count_call: Callable[[], None] = lambda: None


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


def bars_of(
    rows: Iterable[Iterable[Any]],
    source: str,
    symbol: str,
    timeframe: str,
    span: tuple[int, int],
    now_ms: int,
) -> list[Bar]:
    """The bars in an answer's `rows` that open within `span`, ends included, ascending.

    A row is open time (ms), open, high, low, close, base volume, and quote volume or None; later
    ones win. Raises SourceUnavailable where a row is something else.

    >>> bars_of([(0, 1, "2", 0.5, 1, 3, None)], "example", "BTC-USD", "1m", (0, 0), 60_000)[0].high
    2.0
    """
    found: dict[int, Bar] = {}
    try:
        for open_time, *numbers, quote in rows:
            open_, high, low, close, base = map(float, numbers)
            quote_volume = None if quote is None else float(quote)
            found[int(open_time)] = Bar(
                *(symbol, timeframe, int(open_time), open_, high, low, close),
                *(base, quote_volume, source, now_ms),
            )
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise SourceUnavailable(f"{source}: a bar of {symbol} can't be read: {error!r}") from error
    return [found[time] for time in sorted(found) if span[0] <= time <= span[1]]
