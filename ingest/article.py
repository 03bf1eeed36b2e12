"""A news article as the topic `news` carries it."""

import json
import re
from dataclasses import dataclass, fields
from typing import Any, Final

from conf.errors import MalformedArticle
from ingest.bar import CLOCK_SKEW_MS
from ingest.publish import Record

ARTICLE_VERSION: Final = 1
ID_PATTERN: Final = r"^[^\x00-\x20\x7f]{1,128}$"


@dataclass(frozen=True, slots=True)
class Article:
    """One article of one provider; `(provider, id)` is its identity.

    Times are epoch milliseconds UTC. `sentiment` is the provider's own verdict, or None.

    >>> texts = ("Up", "Up it goes.", "wire", ("BTC",), ("Market",), "https://example.org", "EN")
    >>> article = Article("example", "7", 1514219880000, *texts, None, 1514219940000)
    >>> Article.from_json(article.to_json()) == article
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

    def violation(self, now_ms: int) -> str | None:
        """Name the first rule that this article breaks at `now_ms` (epoch ms), or None."""
        if not re.match(ID_PATTERN, self.id):
            return "id must be a short text without white space"
        if not self.title.strip():
            return "title must not be empty"
        if not 0 < self.published_at <= now_ms + CLOCK_SKEW_MS:
            return "published_at must be a time in the past"
        return None

    def to_json(self) -> bytes:
        """The bytes that go to the topic."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps({"v": ARTICLE_VERSION, **found}, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, message: bytes) -> "Article":
        """Read what `to_json` wrote; raises MalformedArticle for anything else."""
        try:
            found: dict[str, Any] = json.loads(message)
            if found.pop("v") != ARTICLE_VERSION:
                raise MalformedArticle(f"v must be {ARTICLE_VERSION}")
            found["categories"] = tuple(found["categories"])
            found["tags"] = tuple(found["tags"])
            return cls(**{field.name: found[field.name] for field in fields(cls)})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise MalformedArticle(f"not an article: {error!r}") from error


def article_record(topic: str, article: Article) -> Record:
    """The message that carries `article`.

    Keyed by provider, so that its articles keep their order: whoever finds one on the topic knows
    that those before it are there.
    """
    return Record(topic, article.provider.encode(), article.to_json())
