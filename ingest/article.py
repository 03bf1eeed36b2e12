"""A news article as the topic `news` carries it, and the watermark between articles."""

import json
import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from conf.errors import MalformedArticle
from ingest.bar import CLOCK_SKEW_MS

ARTICLE_VERSION: Final = 1
ID_PATTERN: Final = r"^[^\x00-\x20\x7f]{1,128}$"
# A body is cut here before it is published: who reads on follows the link. A title is never cut.
BODY_CHARACTERS: Final = 10_000
TITLE_CHARACTERS: Final = 1_000
# Of every other text, and of each category and tag; so many of them, where the most seen are 20.
TEXT_CHARACTERS: Final = 2_000
LABEL_CHARACTERS: Final = 100
LABELS: Final = 100
_COIN: Final = re.compile(r"[A-Z0-9]{2,10}")
# Categories that look like coins and are none, of both providers.
_TOPIC: Final = re.compile(
    "AIRDROP|ALTCOIN|ASIA|BLOCKCHAIN|BUSINESS|COMMODITY|CRYPTO|DEFI|EXCHANGE|FIAT|FORKS|ICO|MARKET"
    "|MINING|NFT|OTHER|REGULATION|RESEARCH|SPONSORED|STOCKS|TECHNOLOGY|TRADING|WALLET"
)
_MAX_REACH: Final = 10**9
_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    **dict.fromkeys(("provider", "id", "title", "body", "source", "url", "lang"), str),
    **dict.fromkeys(("published_at", "fetched_at", "available_at", "listed_until"), int),
    **dict.fromkeys(("categories", "tags"), list),
    "sentiment": (str, type(None)),
    "reach": (int, type(None)),
}


@dataclass(frozen=True, slots=True)
class Article:
    """One article of one provider; `(provider, id)` is its identity.

    Times are epoch milliseconds UTC. `sentiment` is the provider's own verdict, or None; `reach`
    how many readers have voted on it, None where the provider does not tell. `available_at` is when
    the article could have been known, which is never before its publication: `NewsFeed` says how
    it is found.

    >>> texts = ("Up", "Up it goes.", "wire", ("BTC",), ("Market",), "https://example.org", "EN")
    >>> article = Article("example", "7", 1514219880000, *texts, None, 1514219940000, 1514219940000)
    >>> read_message(article.to_json()) == article
    True
    """

    provider: str
    id: str
    published_at: int
    title: str
    body: str
    source: str
    categories: tuple[str, ...]
    tags: tuple[str, ...]
    url: str
    lang: str
    sentiment: str | None
    fetched_at: int
    available_at: int
    reach: int | None = None

    @property
    def coins(self) -> tuple[str, ...]:
        """The coins that the article is about; none where it is about the market.

        >>> from types import SimpleNamespace
        >>> Article.coins.fget(SimpleNamespace(categories=("BTC", "Trading", "MARKET")))
        ('BTC',)
        """
        named = dict.fromkeys(c for c in self.categories if _COIN.fullmatch(c))
        return tuple(coin for coin in named if not _TOPIC.fullmatch(coin))

    def rejection_reason(self, now_ms: int) -> str | None:
        """Name the first rule that this article breaks at `now_ms` (epoch ms), or None."""
        if not re.match(ID_PATTERN, self.id):
            return "id must be a short text without white space"
        if not self.title.strip():
            return "title must not be empty"
        if len(self.title) > TITLE_CHARACTERS:
            return f"title must be at most {TITLE_CHARACTERS} characters long"
        if len(self.body) > BODY_CHARACTERS:
            return f"body must be at most {BODY_CHARACTERS} characters long"
        if (
            max(map(len, (self.source, self.url, self.lang, self.sentiment or "")))
            > TEXT_CHARACTERS
        ):
            return (
                f"source, url, lang and sentiment must be at most {TEXT_CHARACTERS} characters long"
            )
        for labels in (self.categories, self.tags):
            if len(labels) > LABELS or max(map(len, labels), default=0) > LABEL_CHARACTERS:
                return (
                    f"categories and tags: at most {LABELS} of {LABEL_CHARACTERS} characters each"
                )
        if not 0 < self.published_at <= now_ms + CLOCK_SKEW_MS:
            return "published_at must be a time in the past"
        if not self.published_at - CLOCK_SKEW_MS <= self.available_at <= now_ms + CLOCK_SKEW_MS:
            return "available_at must lie between published_at and now"
        if self.reach is not None and not 0 <= self.reach <= _MAX_REACH:
            return "reach must be a number of people"
        return None

    def to_json(self) -> bytes:
        """The bytes that go to the topic."""
        return _json(self)


@dataclass(frozen=True, slots=True)
class Listed:
    """The watermark of a provider: all that it listed until then is on the topic before this.

    `listed_until` is epoch ms UTC, by our clock.

    >>> read_message(Listed("coindesk", 1514219880000).to_json()).listed_until
    1514219880000
    """

    provider: str
    listed_until: int

    def to_json(self) -> bytes:
        """The bytes that go to the topic."""
        return _json(self)


def read_message(message: bytes) -> Article | Listed:
    """What a message of the topic `news` is; raises MalformedArticle where it is neither."""
    try:
        found = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise MalformedArticle(f"not an article: {error}") from error
    if not isinstance(found, dict):
        raise MalformedArticle("not an article: no JSON object")
    if found.get("v") != ARTICLE_VERSION:
        raise MalformedArticle(f"v must be {ARTICLE_VERSION}")
    if "listed_until" in found:
        listed = Listed(*(_checked(found, field.name) for field in fields(Listed)))
        if listed.listed_until < 0:
            raise MalformedArticle("not an article: listed_until is no time")
        return listed
    # A message without these fields is of an older version: known at the latest when fetched.
    found = {"available_at": found.get("fetched_at"), "reach": None, **found}
    return Article(*(_checked(found, field.name) for field in fields(Article)))


def _json(message: Article | Listed) -> bytes:
    return json.dumps({"v": ARTICLE_VERSION, **asdict(message)}, separators=(",", ":")).encode()


def _checked(found: dict[str, Any], name: str) -> Any:
    """The field `name` as an Article has it; raises MalformedArticle for another type."""
    if name not in found:
        raise MalformedArticle(f"not an article: {name} is missing")
    value = found[name]
    if not isinstance(value, _TYPES[name]) or isinstance(value, bool):
        raise MalformedArticle(f"not an article: {name} is of another type")
    texts = value if isinstance(value, list) else [value] if isinstance(value, str) else []
    if not all(isinstance(text, str) for text in texts):
        raise MalformedArticle(f"not an article: {name} is of another type")
    try:
        "".join(texts).encode()  # JSON may hold half a character
    except UnicodeEncodeError:
        raise MalformedArticle(f"not an article: {name} is no valid text") from None
    return tuple(value) if isinstance(value, list) else value
