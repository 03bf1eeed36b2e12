"""CryptoCompare's min-api: bars of the index CCCAGG, and articles; needs CRYPTOCOMPARE_API_KEY.

Errors mostly come as HTTP 200, so the body decides. An answer holds `limit + 1` bars, the last of
them still forming where `toTs` is now.
"""

from collections.abc import Mapping
from typing import Any, Final

from ingest.article import Article
from ingest.sources import SourceOptions
from ingest.sources.api import Api
from ingest.sources.ccdata import UnitBars, article_of, parts

NAME: Final = "cryptocompare"
BASE_URL: Final = "https://min-api.cryptocompare.com"


class CryptoCompare(UnitBars):
    """Bars of the index CCCAGG, the paper's source; and news."""

    provider = NAME
    columns = ("time", "open", "high", "low", "close", "volumefrom", "volumeto")

    def __init__(self, options: SourceOptions) -> None:
        super().__init__(NAME, Api(NAME, BASE_URL, options), options)

    def rows(
        self, symbol: str, unit: str, aggregate: int, count: int, last_s: int
    ) -> list[Mapping[str, Any]]:
        """Ask `/data/v2/histominute`, `histohour` or `histoday`."""
        base, _, quote = symbol.partition("-")
        parameters: dict[str, str | int] = {
            "fsym": base,
            "tsym": quote,
            # One bar comes on top; a limit of 0 is no number to this API.
            "limit": max(1, count - 1),
            "toTs": last_s,
            "aggregate": aggregate,
        }
        return self._api.rows(f"/data/v2/histo{unit}", parameters)

    def articles(self, to_ms: int) -> list[Article]:
        """Ask once for what the editors list; it comes without a verdict on the sentiment."""
        # `lTs` is documented as "before"; one second more asks for "at or before".
        parameters: dict[str, str | int] = {"lang": "EN", "lTs": to_ms // 1000 + 1}
        rows = self._api.rows("/data/v2/news/", parameters)  # the trailing slash matters
        now_ms = self._clock.now_ms()
        return [
            article_of(
                NAME,
                row,
                now_ms,
                source=str(row.get("source") or ""),
                categories=parts(row.get("categories")),
                tags=row.get("tags"),
            )
            for row in rows
            if isinstance(row, dict)
        ]
