"""News as a feed of the poller: each article once, however often it is listed."""

import logging
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from ingest.article import Article, article_record
from ingest.feed import Digest, Request
from ingest.sources import NewsSource

log = logging.getLogger(__name__)

# Articles are asked for again for this long: providers list some of them late.
OVERLAP_MS: Final = 6 * 3_600_000
# An empty page is the end of the list or a faulty answer; so many in a row are the end.
EMPTY_ANSWERS: Final = 3
# A first start, or one after a long time, goes back at most this far.
BACKFILL_MS: Final = 7 * 86_400_000


@dataclass(slots=True)
class _Walk:
    """One poll's way back from now to what is known."""

    oldest_ms: int
    to_ms: int
    complete: bool = False
    empty: int = 0
    found: dict[str, Article] = field(default_factory=dict)


class NewsFeed:
    """The articles of one provider, polled every `period_ms`.

    Providers list the newest first. A poll pages back until it meets what the polls before have
    brought, and only then publishes, oldest first: a poll that breaks off leaves nothing behind
    that would look like a cursor.
    """

    kind = "articles"

    def __init__(self, source: NewsSource, *, topic: str, period_ms: int) -> None:
        self.name = f"news {source.name}"
        self._source = source
        self._topic = topic
        self._period_ms = period_ms
        self._known: dict[str, int] = {}
        self._newest_ms: int | None = None
        self._walk = _Walk(0, 0, complete=True)

    def saw(self, article: Article) -> None:
        """Note an article that is on the topic already."""
        if article.provider == self._source.name:
            self._known[article.id] = article.published_at
            self._newest_ms = max(self._newest_ms or 0, article.published_at)

    def next_poll_ms(self, now_ms: int) -> int:
        """The next multiple of the period."""
        return (now_ms // self._period_ms + 1) * self._period_ms

    def begin(self, now_ms: int) -> None:
        """Start the way back at now."""
        oldest_ms = now_ms - BACKFILL_MS
        if self._newest_ms is not None:
            oldest_ms = max(oldest_ms, self._newest_ms - OVERLAP_MS)
        self._walk = _Walk(oldest_ms, now_ms)
        self._known = {id_: at for id_, at in self._known.items() if at >= oldest_ms - OVERLAP_MS}

    def next_request(self, now_ms: int) -> Request | None:
        """The next page back, until the overlap is behind."""
        walk = self._walk
        if walk.complete:
            return None
        return Request(walk.oldest_ms, walk.to_ms, partial(self._source.fetch, walk.to_ms))

    def digest(self, request: Request, answer: list[Article], now_ms: int) -> Digest:
        """Gather the page; the last one brings the records of all, oldest first."""
        digest = Digest(request)
        walk = self._walk
        for article in answer:
            if article.id in self._known or article.id in walk.found:
                continue
            reason = article.violation(now_ms)
            if reason is not None:
                self._reject(article, reason, digest)
            elif article.published_at >= walk.oldest_ms:
                walk.found[article.id] = article
        listed = [article.published_at for article in answer if article.published_at > 0]
        walk.empty = 0 if listed else walk.empty + 1
        if listed:
            # A page that lists one second only must not be asked for for ever.
            walk.to_ms = min(min(listed), walk.to_ms - 1_000)
        walk.complete = walk.to_ms < walk.oldest_ms or walk.empty >= EMPTY_ANSWERS
        if walk.complete:
            digest.published = sorted(walk.found.values(), key=lambda a: (a.published_at, a.id))
            digest.records = [article_record(self._topic, a) for a in digest.published]
        return digest

    def settle(self, digest: Digest) -> None:
        """Note what is on the topic now."""
        for article in digest.published:
            self.saw(article)

    def end(self, now_ms: int) -> None:
        """Nothing is left to plan."""

    def give_up(self, request: Request) -> bool:
        """The next poll walks again from the top."""
        return False

    def newest_close_ms(self) -> int | None:
        """News are no bars: they are never behind."""
        return None

    def gaps(self) -> int:
        """Nobody knows how many articles there ought to be."""
        return 0

    def missing(self, now_ms: int) -> int:
        """Nobody knows how many articles there are to come."""
        return 0

    def _reject(self, article: Article, reason: str, digest: Digest) -> None:
        digest.rejected.append(reason)
        self._known[article.id] = max(article.published_at, self._walk.oldest_ms)
        log.warning(
            "event=article_rejected provider=%s id=%r reason=%r",
            *(article.provider, article.id[:128], reason),
        )
