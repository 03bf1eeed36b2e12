"""From settings to feeds: what is polled, when, and whether that makes sense."""

from collections.abc import Sequence
from typing import Final

from conf.errors import ConfigurationError
from conf.sections import Ingest, Kafka
from conf.symbol import symbol_problem
from conf.timeframes import TIMEFRAME_MS
from ingest.bar_feed import BarFeed, Series
from ingest.budget import WINDOW_S, sustained_calls
from ingest.sources import Source

# On top of the age that an answer may have: the source needs a moment to close its books.
GRACE_MARGIN_S: Final = 2.0


def plan_series(source: Source, settings: Ingest) -> list[Series]:
    """One series for each symbol and timeframe.

    A series is polled every `every_s` seconds, or once a bar where its bars are longer, plus the
    grace: by default the age that the source's answers may have. Raises ConfigurationError naming
    the setting that makes no sense.
    """
    series = []
    for symbol, timeframe in named_series(settings):
        bar_s = TIMEFRAME_MS[timeframe] // 1000
        period_s = max(settings.every_s, bar_s)
        if period_s % bar_s:
            raise ConfigurationError(
                f"ingest.every_s = {settings.every_s} must be a multiple of {bar_s} s, the length"
                f" of a bar of {timeframe}, or shorter"
            )
        grace_s = _grace_s(source, timeframe, settings)
        series.append(Series(symbol, timeframe, period_s * 1000, int(grace_s * 1000)))
    if source.metered:
        check_budget(series, settings)
    return series


def as_named(source: Source, settings: Ingest) -> Ingest:
    """The settings with each symbol as the source writes it; raises what `Source.named` raises."""
    check_symbols(settings.symbols)
    names = {symbol: source.named(symbol) for symbol in settings.symbols}
    of = {names.get(symbol, symbol): some for symbol, some in settings.intervals_of.items()}
    return settings.model_copy(update={"symbols": list(names.values()), "intervals_of": of})


def named_series(settings: Ingest) -> list[tuple[str, str]]:
    """Each symbol with each of its timeframes; raises ConfigurationError for a wrong symbol."""
    check_symbols(settings.symbols)
    strange = sorted(set(settings.intervals_of) - set(settings.symbols))
    if strange:
        raise ConfigurationError(
            f"ingest.intervals_of names {', '.join(strange)}, which ingest.symbols does not"
        )
    named = []
    for symbol in settings.symbols:
        timeframes = settings.intervals_of.get(symbol, settings.intervals)
        if not timeframes:
            raise ConfigurationError(f"ingest.intervals is empty for {symbol}")
        named += [(symbol, timeframe) for timeframe in dict.fromkeys(timeframes)]
    return named


def check_symbols(symbols: Sequence[str]) -> None:
    """Raise ConfigurationError for no symbol, one twice, or one that is no BASE-QUOTE."""
    if not symbols:
        raise ConfigurationError("ingest.symbols is empty: name at least one, such as BTC-USD")
    for symbol in symbols:
        if (problem := symbol_problem(symbol)) is not None:
            raise ConfigurationError(f"ingest.symbols: {symbol!r}: {problem}, such as BTC-USD")
    twice = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
    if twice:
        raise ConfigurationError(f"ingest.symbols names {', '.join(twice)} more than once")


def bar_feeds(
    source: Source,
    settings: Ingest,
    topics: Kafka,
    now_ms: int,
    since_ms: int | None = None,
    kind: type[BarFeed] = BarFeed,
) -> list[BarFeed]:
    """A feed for each series, from `since_ms` (epoch ms) or `backfill_bars` before now on.

    Raises ConfigurationError naming the setting that makes no sense.
    """
    return [
        kind(
            one,
            source,
            topics,
            since_ms=now_ms - settings.backfill_bars * one.bar_ms if since_ms is None else since_ms,
            overlap_bars=settings.overlap_bars,
            earliest_ms=settings.earliest_ms,
        )
        for one in plan_series(source, settings)
    ]


def check_budget(series: Sequence[Series], settings: Ingest) -> None:
    """Raise ConfigurationError where polling alone would use more calls than the limits allow.

    A limit of N a window sustains three quarters of N; the rest is the burst.
    """
    for window, limit in settings.calls_per.items():
        if WINDOW_S[window] < 60:
            continue  # calls wait for a second; for longer they would pile up
        needed = sum(WINDOW_S[window] * 1000 / one.period_ms for one in series)
        if needed > sustained_calls(limit):
            raise ConfigurationError(
                f"ingest.calls_per.{window} = {limit} sustains {sustained_calls(limit):g} calls a"
                f" {window}, but polling {len(series)} series takes {needed:g}: poll fewer of"
                " ingest.symbols, raise ingest.every_s, or raise the limit to what your key allows"
            )


def _grace_s(source: Source, timeframe: str, settings: Ingest) -> float:
    """Seconds between a bar's close and the poll that asks for it.

    Raises ConfigurationError where the setting is shorter than an answer may be old: the bar
    would be taken as it was before its close.
    """
    cache_s = source.terms(timeframe).cache_s
    grace_s = settings.grace_s.get(timeframe, cache_s + GRACE_MARGIN_S)
    if grace_s < cache_s:
        raise ConfigurationError(
            f"ingest.grace_s.{timeframe} = {grace_s:g} is shorter than the {cache_s:g} s for which"
            f" {source.name} caches its answers: a bar would be taken before it is final"
        )
    return grace_s
