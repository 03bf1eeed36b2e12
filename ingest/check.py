"""What a source gives, asked once: `candlecast ingest --check`."""

from datetime import UTC, datetime
from typing import Final

from conf.errors import NotOffered, RetryLater
from conf.sections import Ingest
from conf.symbol import market_of
from ingest.bar import OPTIONAL
from ingest.bar_feed import Series
from ingest.sources import Source
from ingest.sources.rows import Answer, whole

CHECKED_BARS: Final = 3


def check_source(source: Source, series: Series, settings: Ingest, now_ms: int) -> str:
    """Ask for a few closed bars, for the oldest ones and for the time, and say what came.

    Raises what `Source.fetch` may raise for the newest bars.
    """
    last_ms = series.last_closed(now_ms)
    first_ms = last_ms - (CHECKED_BARS - 1) * series.bar_ms
    bars = source.fetch(series.symbol, series.interval, first_ms, last_ms)
    rejected = [reason for bar in bars if (reason := bar.rejection_reason(now_ms)) is not None]
    terms = source.terms(series.interval)
    listens = source.can_listen and settings.live == "websocket"
    told = {
        "source": source.name,
        "symbol": series.symbol,
        "interval": series.interval,
        "bars": f"{len(bars)}/{CHECKED_BARS}",
        "rejected": len(rejected) + len(bars.unreadable),
        "newest_close": f"{bars[-1].close:.12g}" if bars else "none",
        "fields": _fields(bars),
        "page": terms.page_bars,
        "history_from": _history_from(source, series, settings, now_ms),
        "clock_off_s": _clock_off_s(source),
        "live": _way(listens, source.can_listen),
        "after_close_s": f"{'0 to ' if listens else ''}{series.grace_ms / 1000:g}",
    }
    return " ".join(
        f'{name}="{value}"' if " " in str(value) else f"{name}={value}"
        for name, value in told.items()
    )


def _way(listens: bool, can_listen: bool) -> str:
    if listens:
        return "websocket"
    return "poll, websocket offered" if can_listen else "poll"


def _fields(bars: Answer) -> str:
    """Those of `OPTIONAL` that the newest bars have."""
    found = [name for name in OPTIONAL if any(getattr(bar, name) is not None for bar in bars)]
    return ",".join(found) or "none"


def _history_from(source: Source, series: Series, settings: Ingest, now_ms: int) -> str:
    """The day of the oldest bar that a question about the earliest ones is answered with."""
    terms, bar_ms = source.terms(series.interval), series.bar_ms
    first_ms = -(-settings.earliest_ms // bar_ms) * bar_ms
    if terms.keeps_ms is not None:
        first_ms = (now_ms - terms.keeps_ms) // bar_ms * bar_ms + bar_ms
    last_ms = min(first_ms + (terms.page_bars - 1) * bar_ms, now_ms)
    try:
        rows = list(source.rows(market_of(series.symbol), series.interval, first_ms, last_ms))
    except (NotOffered, RetryLater):
        return "not told"
    # One of the time alone says that there is nothing; one of another unit says no day.
    found = [whole(row[0]) for row in rows if isinstance(row, list | tuple) and len(row) > 1]
    times = [at for at in found if at is not None and 0 <= at <= now_ms]
    if not times:
        return "not told"
    return f"{datetime.fromtimestamp(min(times) / 1000, UTC):%Y-%m-%d}"


def _clock_off_s(source: Source) -> str:
    """The source's clock less ours."""
    try:
        off_ms = source.clock_off_ms()
    except RetryLater:
        off_ms = None
    return "not told" if off_ms is None else f"{off_ms / 1000:.2f}"
