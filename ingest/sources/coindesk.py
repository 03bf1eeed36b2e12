"""CoinDesk's Data API, min-api's successor with true HTTP codes; needs COINDESK_API_KEY."""

from collections.abc import Mapping
from typing import Any, Final

from ingest.article import Article
from ingest.sources import SourceOptions
from ingest.sources.api import Api
from ingest.sources.ccdata import UnitBars, article_of

NAME: Final = "coindesk"
BASE_URL: Final = "https://data-api.coindesk.com"
NOT_OFFERED: Final = (400, 404)
MARKET: Final = "cadli"
PAGE_ARTICLES: Final = 100


class CoinDesk(UnitBars):
    """Bars of one index of CoinDesk's Data API: `coindesk` is cadli, `coindesk:ccix` another.

    It lists news too.
    """

    provider = NAME
    columns = ("TIMESTAMP", "OPEN", "HIGH", "LOW", "CLOSE", "VOLUME", "QUOTE_VOLUME")

    def __init__(self, options: SourceOptions) -> None:
        self._market = options.argument or MARKET
        api = Api(NAME, BASE_URL, options, not_offered=NOT_OFFERED)
        super().__init__(f"{NAME}:{self._market}", api, options)

    def rows(
        self, symbol: str, unit: str, aggregate: int, count: int, last_s: int
    ) -> list[Mapping[str, Any]]:
        """Ask `/index/cc/v1/historical/minutes`, `hours` or `days`."""
        parameters: dict[str, str | int] = {
            "market": self._market,
            "instrument": symbol,
            "limit": count,
            "to_ts": last_s,
            "aggregate": aggregate,
            "fill": "true",
        }
        return self._api.rows(f"/index/cc/v1/historical/{unit}s", parameters)

    def articles(self, to_ms: int) -> list[Article]:
        """Ask once for what it lists, with its verdict POSITIVE, NEUTRAL or NEGATIVE."""
        parameters: dict[str, str | int] = {"lang": "EN", "limit": PAGE_ARTICLES}
        rows = self._api.rows("/news/v1/article/list", {**parameters, "to_ts": to_ms // 1000})
        now_ms = self._clock.now_ms()
        return [_article(row, now_ms) for row in rows if isinstance(row, dict)]


def _article(row: Mapping[str, Any], now_ms: int) -> Article:
    source, categories = row.get("SOURCE_DATA"), row.get("CATEGORY_DATA")
    named = [c for c in categories if isinstance(c, dict)] if isinstance(categories, list) else []
    return article_of(
        NAME,
        row,
        now_ms,
        source=str(source.get("NAME") or "") if isinstance(source, dict) else "",
        categories=(str(one["CATEGORY"]) for one in named if one.get("CATEGORY")),
        tags=row.get("KEYWORDS"),
        sentiment=str(row["SENTIMENT"]) if row.get("SENTIMENT") else None,
    )
