"""From settings to series: what is polled, when, and whether that makes sense."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from conf.errors import ConfigurationError
from conf.timeframes import TIMEFRAME_MS
from ingest.bar import SYMBOL_PATTERN
from ingest.budget import WINDOW_S, sustained_calls
from ingest.feed import Series
from ingest.sources import Source

# On top of the age that an answer may have: the source needs a moment to close its books.
GRACE_MARGIN_S: Final = 2.0


def plan_series(
    source: Source,
    *,
    symbols: Sequence[str],
    timeframes: Sequence[str],
    intervals_of: Mapping[str, Sequence[str]],
    every_s: int,
    grace_s: Mapping[str, float],
) -> list[Series]:
    """One series for each symbol and interval.

    A series is polled every `every_s` seconds, or once a bar where its bars are longer, at the
    slot plus the grace: by default the age that the source's answers may have. Raises
    ConfigurationError naming the setting that makes no sense.
    """
    check_symbols(symbols, intervals_of)
    series = []
    for symbol in symbols:
        for timeframe in check_intervals(symbol, intervals_of.get(symbol, timeframes)):
            step_s = TIMEFRAME_MS[timeframe] // 1000
            period_s = max(every_s, step_s)
            if every_s <= 0 or period_s % step_s:
                raise ConfigurationError(
                    f"ingest.every_s = {every_s} must be a multiple of {step_s} s, the length of"
                    f" a bar of {timeframe}, or shorter"
                )
            grace = grace_of(source, timeframe, grace_s)
            series.append(Series(symbol, timeframe, period_s * 1000, int(grace * 1000)))
    return series


def check_symbols(symbols: Sequence[str], intervals_of: Mapping[str, Sequence[str]]) -> None:
    """Raise ConfigurationError for no symbol, one twice, or one that is no BASE-QUOTE."""
    if not symbols:
        raise ConfigurationError("ingest.symbols is empty: name at least one, such as BTC-USD")
    for symbol in symbols:
        if not re.match(SYMBOL_PATTERN, symbol):
            raise ConfigurationError(f"ingest.symbols: {symbol!r} must look like BTC-USD")
    twice = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
    if twice:
        raise ConfigurationError(f"ingest.symbols names {', '.join(twice)} more than once")
    strange = sorted(set(intervals_of) - set(symbols))
    if strange:
        raise ConfigurationError(
            f"ingest.intervals_of names {', '.join(strange)}, which ingest.symbols does not"
        )


def check_intervals(symbol: str, timeframes: Sequence[str]) -> Sequence[str]:
    """Return `intervals`; raise ConfigurationError for none, or one that is unknown."""
    if not timeframes:
        raise ConfigurationError(f"ingest.intervals is empty for {symbol}")
    for timeframe in timeframes:
        if timeframe not in TIMEFRAME_MS:
            raise ConfigurationError(
                f"ingest.intervals: {timeframe!r} is unknown; there are {', '.join(TIMEFRAME_MS)}"
            )
    return list(dict.fromkeys(timeframes))


def grace_of(source: Source, timeframe: str, grace_s: Mapping[str, float]) -> float:
    """Seconds between a bar's close and the poll that asks for it.

    Raises ConfigurationError where the setting is shorter than an answer may be old: the bar
    would be taken as it was before its close.
    """
    cache_s = source.cache_s(timeframe)
    grace = grace_s.get(timeframe, cache_s + GRACE_MARGIN_S)
    if grace < cache_s:
        raise ConfigurationError(
            f"ingest.grace_s.{timeframe} = {grace:g} is shorter than the {cache_s:g} s for which"
            f" {source.name} caches its answers: a bar would be taken before it is final"
        )
    return grace


def check_budget(series: Sequence[Series], calls_per: Mapping[str, int]) -> None:
    """Raise ConfigurationError where polling alone would use more calls than the limits allow.

    A limit of N a window sustains three quarters of N; the rest is the burst.
    """
    for window, limit in calls_per.items():
        if WINDOW_S[window] < 60:
            continue  # calls wait for a second; for longer they would pile up
        needed = sum(WINDOW_S[window] * 1000 / one.period_ms for one in series)
        if needed > sustained_calls(limit):
            raise ConfigurationError(
                f"ingest.calls_per.{window} = {limit} sustains {sustained_calls(limit):g} calls a"
                f" {window}, but polling {len(series)} series takes {needed:g}: poll fewer of"
                " ingest.symbols, raise ingest.every_s, or raise the limit to what your key allows"
            )
