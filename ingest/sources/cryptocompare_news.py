"""Articles from min-api: `/data/v2/news/`, whose trailing slash matters."""

from collections.abc import Mapping
from typing import Any, Final

from conf.errors import SourceUnavailable
from ingest.article import Article
from ingest.http import JsonClient
from ingest.sources import SourceOptions
from ingest.sources.cryptocompare import BASE_URL, checked

PATH: Final = "/data/v2/news/"


class CryptoCompareNews:
    """What CryptoCompare's editors list; without a verdict on the sentiment."""

    name = "cryptocompare"

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
        # `lTs` is documented as "before"; one second more asks for "at or before".
        body = checked(self._client, PATH, {"lang": "EN", "lTs": to_ms // 1000 + 1}, now_ms)
        rows = body.get("Data")
        if not isinstance(rows, list):
            raise SourceUnavailable(f"{PATH} is a success without a list of articles")
        return [_article(row, now_ms) for row in rows if isinstance(row, dict)]


def _article(row: Mapping[str, Any], now_ms: int) -> Article:
    published = row.get("published_on")
    return Article(
        provider=CryptoCompareNews.name,
        id=str(row.get("id", "")),
        published_at=int(published) * 1000 if isinstance(published, int | float) else 0,
        title=str(row.get("title") or ""),
        body=str(row.get("body") or ""),
        source=str(row.get("source") or ""),
        categories=parts(row.get("categories")),
        tags=parts(row.get("tags")),
        url=str(row.get("url") or ""),
        lang=str(row.get("lang") or ""),
        sentiment=None,
        fetched_at=now_ms,
        available_at=now_ms,
        reach=votes(row, "upvotes", "downvotes"),
    )


def votes(row: Mapping[str, Any], *names: str) -> int | None:
    """How many readers have voted, either way; None where the provider does not tell.

    >>> votes({"upvotes": "3", "downvotes": "1"}, "upvotes", "downvotes")
    4
    """
    found = [str(row.get(name, "")) for name in names]
    return sum(map(int, found)) if all(map(str.isdecimal, found)) else None


def parts(text: object) -> tuple[str, ...]:
    """Split what is separated by bars.

    >>> parts("BTC|Market")
    ('BTC', 'Market')
    """
    return tuple(part for part in str(text or "").split("|") if part)
