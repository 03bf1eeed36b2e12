"""CCData's two APIs, bars and news: CryptoCompare's min-api, and its successor of CoinDesk.

Their history has one endpoint a unit of time, which makes longer bars by putting several together.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, ClassVar, Final, NamedTuple

from conf.errors import SourceUnavailable
from conf.timeframes import TIMEFRAME_MS
from ingest.article import Article
from ingest.sources import NewsSource, SourceOptions, Terms, not_served
from ingest.sources.api import Api
from ingest.sources.rows import number, picked, whole


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


class UnitBars(NewsSource):
    """A source whose bars come by unit; `columns` are a row's open time (s), prices, volumes."""

    columns: ClassVar[tuple[str, ...]]

    def __init__(self, name: str, api: Api, options: SourceOptions) -> None:
        super().__init__(name, options)
        self._api = api

    @abstractmethod
    def units(self, symbol: str, unit: str, aggregate: int, count: int, last_s: int) -> list[Any]:
        """Ask once for at least `count` bars, the newest at or before `last_s` (epoch s)."""

    def terms(self, timeframe: str) -> Terms:
        """How bars of `timeframe` are served."""
        unit, aggregate = unit_of(timeframe, self.name)
        return Terms(MAX_POINTS // aggregate, unit.keeps_ms, unit.cache_s)

    def rows(
        self, symbol: str, timeframe: str, first_ms: int, last_ms: int
    ) -> Iterator[Sequence[Any]]:
        """Ask once; a row of zeros says that there is nothing at that time."""
        unit, aggregate = unit_of(timeframe, self.name)
        count = (last_ms - first_ms) // TIMEFRAME_MS[timeframe] + 1
        found = self.units(symbol, unit.name, aggregate, count, last_ms // 1000)
        if not found:
            raise SourceUnavailable(f"{self.name}: a success without a single bar of {symbol}")
        for time_s, *values in picked(found, self.columns):
            row = [number(time_s) * 1000, *values]
            yield row[:1] if values[:4] == [0, 0, 0, 0] else row

    def _listed(self, path: str, parameters: Mapping[str, str | int]) -> list[Article]:
        rows = self._api.rows(path, {"lang": "EN", **parameters})
        now_ms = self._options.clock.now_ms()
        return [article_of(self.provider, row, now_ms) for row in rows]


class CryptoCompare(UnitBars):
    """Bars of the index CCCAGG, the paper's source; and news. Needs CRYPTOCOMPARE_API_KEY.

    Errors mostly come as HTTP 200, so the body decides. An answer holds `limit + 1` bars, the last
    of them still forming where `toTs` is now.
    """

    provider = "cryptocompare"
    columns = ("time", "open", "high", "low", "close", "volumefrom", "volumeto")

    def __init__(self, options: SourceOptions) -> None:
        api = Api(self.provider, "https://min-api.cryptocompare.com", options)
        super().__init__(self.provider, api, options)

    def units(self, symbol: str, unit: str, aggregate: int, count: int, last_s: int) -> list[Any]:
        """Ask `/data/v2/histominute`, `histohour` or `histoday`."""
        base, _, quote = symbol.partition("-")
        # One bar comes on top; a limit of 0 is no number to this API.
        some = {"limit": max(1, count - 1), "toTs": last_s, "aggregate": aggregate}
        return self._api.rows(f"/data/v2/histo{unit}", {"fsym": base, "tsym": quote, **some})

    def articles(self, to_ms: int) -> list[Article]:
        """Ask once for what the editors list; it comes without a verdict on the sentiment."""
        # `lTs` is documented as "before"; one second more asks for "at or before". The trailing
        # slash matters.
        return self._listed("/data/v2/news/", {"lTs": to_ms // 1000 + 1})


class CoinDesk(UnitBars):
    """Bars of one index of the Data API: `coindesk` is cadli, `coindesk:ccix` another; and news.

    Errors have HTTP codes of their own. Needs COINDESK_API_KEY.
    """

    provider = "coindesk"
    columns = ("TIMESTAMP", "OPEN", "HIGH", "LOW", "CLOSE", "VOLUME", "QUOTE_VOLUME")

    def __init__(self, options: SourceOptions) -> None:
        self._market = options.argument or "cadli"
        base_url = "https://data-api.coindesk.com"
        api = Api(self.provider, base_url, options, not_offered=(400, 404))
        super().__init__(f"{self.provider}:{self._market}", api, options)

    def units(self, symbol: str, unit: str, aggregate: int, count: int, last_s: int) -> list[Any]:
        """Ask `/index/cc/v1/historical/minutes`, `hours` or `days`."""
        what = {"market": self._market, "instrument": symbol, "fill": "true"}
        some = {"limit": count, "to_ts": last_s, "aggregate": aggregate}
        return self._api.rows(f"/index/cc/v1/historical/{unit}s", {**what, **some})

    def articles(self, to_ms: int) -> list[Article]:
        """Ask once for what it lists, with its verdict POSITIVE, NEUTRAL or NEGATIVE."""
        return self._listed("/news/v1/article/list", {"limit": 100, "to_ts": to_ms // 1000})


def article_of(provider: str, row: object, now_ms: int) -> Article:
    """The article in `row`, whose names both APIs share but for their case.

    min-api writes source and categories as texts, the Data API as objects. The article is known
    since `now_ms` (epoch ms). Without a time it is of 1970, which no article may be; without an id
    it has one that breaks the rule of ids, of its own content, so that it is rejected once.
    """
    found = {name.lower(): value for name, value in row.items()} if isinstance(row, dict) else {}
    published_s = whole(found.get("published_on"))
    source = found.get("source_data")
    votes = [whole(found.get(name)) for name in ("upvotes", "downvotes")]
    named = found.get("category_data")
    named = [one for one in named if isinstance(one, dict)] if isinstance(named, list) else []
    categories = [text_of(one.get("CATEGORY")) for one in named]
    return Article(
        provider=provider,
        id=text_of(found.get("id")) or f"unreadable {sha256(repr(row).encode()).hexdigest()[:16]}",
        published_at=published_s * 1000 if published_s else 0,
        title=text_of(found.get("title")),
        body=text_of(found.get("body")),
        source=text_of(source.get("NAME") if isinstance(source, dict) else found.get("source")),
        categories=tuple(filter(None, categories)) or parts(found.get("categories")),
        tags=parts(found.get("tags") or found.get("keywords")),
        url=text_of(found.get("url")),
        lang=text_of(found.get("lang")),
        sentiment=text_of(found.get("sentiment")) or None,
        fetched_at=now_ms,
        available_at=now_ms,
        reach=None if None in votes else sum(vote for vote in votes if vote is not None),
    )


def text_of(value: object) -> str:
    """A text, or a number as one; nothing for anything else.

    >>> text_of("a"), text_of(7), text_of(None), text_of({})
    ('a', '7', '', '')
    """
    if isinstance(value, str):
        return value.encode(errors="replace").decode()  # JSON may hold half a character
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def parts(text: object) -> tuple[str, ...]:
    """What stands between bars; nothing where there is no text.

    >>> parts("BTC|Market")
    ('BTC', 'Market')
    """
    return tuple(part for part in text_of(text).split("|") if part)
