"""What CryptoCompare's and CoinDesk's APIs share: units of time, limits, and how rows are written.

Their history has one endpoint a unit, which makes longer bars by putting several together.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final, NamedTuple

from conf.errors import SourceUnavailable
from conf.timeframes import TIMEFRAME_MS
from ingest.article import Article
from ingest.bar import Bar
from ingest.sources import SourceOptions, Terms, bars_of, not_served
from ingest.sources.api import Api


class Unit(NamedTuple):
    """The bars of one endpoint: how far back they reach (None: all), how long answers are cached.

    For minutes of the Data API both are taken over from min-api, not documented.
    """

    name: str
    length_ms: int
    keeps_ms: int | None
    cache_s: float


UNITS: Final = (
    Unit("day", 86_400_000, None, 610.0),
    Unit("hour", 3_600_000, None, 610.0),
    Unit("minute", 60_000, 7 * 86_400_000, 40.0),
)
MAX_POINTS: Final = 2_000  # of the unit in one answer
MAX_AGGREGATE: Final = 30  # units in one bar


def unit_of(timeframe: str, source: str) -> tuple[Unit, int]:
    """The longest unit that makes up bars of `timeframe`, and how many of it are in one.

    >>> unit, aggregate = unit_of("15m", "example")
    >>> unit.name, aggregate
    ('minute', 15)
    """
    for unit in UNITS:
        aggregate, rest = divmod(TIMEFRAME_MS[timeframe], unit.length_ms)
        if rest == 0 and 0 < aggregate <= MAX_AGGREGATE:
            return unit, aggregate
    raise not_served(source, timeframe, f"1 to {MAX_AGGREGATE} minutes, hours or days")


class UnitBars(ABC):
    """A source whose bars come by unit; `columns` are a row's open time (s), prices, volumes."""

    metered = True
    columns: ClassVar[tuple[str, ...]]

    def __init__(self, name: str, api: Api, options: SourceOptions) -> None:
        self.name = name
        self._api = api
        self._clock = options.clock

    @abstractmethod
    def rows(
        self, symbol: str, unit: str, aggregate: int, count: int, last_s: int
    ) -> list[Mapping[str, Any]]:
        """Ask once for at least `count` bars, the newest at or before `last_s` (epoch s)."""

    def terms(self, timeframe: str) -> Terms:
        """How bars of `timeframe` are served."""
        unit, aggregate = unit_of(timeframe, self.name)
        return Terms(MAX_POINTS // aggregate, unit.keeps_ms, unit.cache_s)

    def fetch(self, symbol: str, timeframe: str, first_ms: int, last_ms: int) -> list[Bar]:
        """Ask once for the bars with `first_ms <= open_time <= last_ms`, ascending."""
        unit, aggregate = unit_of(timeframe, self.name)
        count = (last_ms - first_ms) // TIMEFRAME_MS[timeframe] + 1
        rows = self.rows(symbol, unit.name, aggregate, count, last_ms // 1000)
        if not rows:
            raise SourceUnavailable(f"{self.name}: a success without a single bar of {symbol}")
        time, *others = self.columns
        values = ([row[time] * 1000, *map(row.get, others)] for row in rows)
        span, now_ms = (first_ms, last_ms), self._clock.now_ms()
        bars = bars_of(values, self.name, symbol, timeframe, span, now_ms)
        # Zeros are how these APIs say that they have nothing at that time.
        return [bar for bar in bars if bar.close != 0]


def article_of(
    provider: str,
    row: Mapping[str, Any],
    now_ms: int,
    *,
    source: str,
    categories: Iterable[str],
    tags: object,
    sentiment: str | None = None,
) -> Article:
    """The article in `row`, whose names both providers share but for their case.

    It is known since `now_ms` (epoch ms). Without a time it is of 1970, which no article may be.
    """
    found = {name.lower(): value for name, value in row.items()}
    published = found.get("published_on")
    votes = [str(found.get(name, "")) for name in ("upvotes", "downvotes")]
    return Article(
        provider=provider,
        id=str(found.get("id", "")),
        published_at=int(published) * 1000 if isinstance(published, int | float) else 0,
        title=str(found.get("title") or ""),
        body=str(found.get("body") or ""),
        source=source,
        categories=tuple(categories),
        tags=parts(tags),
        url=str(found.get("url") or ""),
        lang=str(found.get("lang") or ""),
        sentiment=sentiment,
        fetched_at=now_ms,
        available_at=now_ms,
        reach=sum(map(int, votes)) if all(map(str.isdecimal, votes)) else None,
    )


def parts(text: object) -> tuple[str, ...]:
    """What stands between bars; nothing where there is no text.

    >>> parts("BTC|Market")
    ('BTC', 'Market')
    """
    return tuple(part for part in str(text or "").split("|") if part)
