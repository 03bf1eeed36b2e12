"""Articles from CoinDesk's Data API: `/news/v1/article/list`."""

from collections.abc import Mapping
from typing import Any, Final

from ingest.article import Article
from ingest.http import JsonClient
from ingest.sources import SourceOptions
from ingest.sources.coindesk import BASE_URL, checked
from ingest.sources.cryptocompare_news import parts, votes

PATH: Final = "/news/v1/article/list"
PAGE_ARTICLES: Final = 100


class CoinDeskNews:
    """What CoinDesk lists, each article with its verdict POSITIVE, NEUTRAL or NEGATIVE."""

    name = "coindesk"

    def __init__(self, options: SourceOptions) -> None:
        self._clock = options.clock
        key = options.api_key
        self._client = JsonClient(
            options.base_url or BASE_URL,
            headers={"Authorization": f"Apikey {key}"} if key else None,
            timeout_s=options.timeout_s,
            count_call=options.count_call,
        )

    def fetch(self, to_ms: int) -> list[Article]:
        """Ask once for the newest articles published at or before `to_ms` (epoch ms)."""
        now_ms = self._clock.now_ms()
        parameters: dict[str, str | int] = {
            "lang": "EN",
            "limit": PAGE_ARTICLES,
            "to_ts": to_ms // 1000,
        }
        rows = checked(self._client, PATH, parameters, now_ms)
        return [_article(row, now_ms) for row in rows if isinstance(row, dict)]


def _article(row: Mapping[str, Any], now_ms: int) -> Article:
    published = row.get("PUBLISHED_ON")
    return Article(
        provider=CoinDeskNews.name,
        id=str(row.get("ID", "")),
        published_at=int(published) * 1000 if isinstance(published, int | float) else 0,
        title=str(row.get("TITLE") or ""),
        body=str(row.get("BODY") or ""),
        source=_name(row.get("SOURCE_DATA"), "NAME"),
        categories=_names(row.get("CATEGORY_DATA"), "CATEGORY"),
        tags=parts(row.get("KEYWORDS")),
        url=str(row.get("URL") or ""),
        lang=str(row.get("LANG") or ""),
        sentiment=str(row["SENTIMENT"]) if row.get("SENTIMENT") else None,
        fetched_at=now_ms,
        available_at=now_ms,
        reach=votes(row, "UPVOTES", "DOWNVOTES"),
    )


def _name(found: object, key: str) -> str:
    return str(found.get(key) or "") if isinstance(found, dict) else ""


def _names(found: object, key: str) -> tuple[str, ...]:
    rows = found if isinstance(found, list) else []
    return tuple(name for row in rows if (name := _name(row, key)))
