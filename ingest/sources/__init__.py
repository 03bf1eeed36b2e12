"""Where bars come from: one module a source, one line a source in SOURCES."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Final, Protocol

from conf.errors import ConfigurationError
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

    def page_bars(self, interval: str) -> int:
        """The most bars that one `fetch` may ask for."""
        ...

    def keeps_ms(self, interval: str) -> int | None:
        """How far back history reaches, in milliseconds; None for all of it."""
        ...

    def cache_s(self, interval: str) -> float:
        """How old an answer may be, in seconds: a bar is final only that long after its close."""
        ...

    def fetch(self, symbol: str, interval: str, first_ms: int, last_ms: int) -> list[Bar]:
        """Ask once for the bars with `first_ms <= open_time <= last_ms`, ascending.

        Bars that the source does not have are absent; bars that break a rule are returned as they
        came. Raises RetryLater (ask again later), NotOffered (never for this symbol) or
        ConfigurationError (a person has to act).
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
    module, _, attribute = SOURCES[kind].partition(":")
    made: Source = getattr(import_module(module), attribute)(replace(options, argument=argument))
    return made
