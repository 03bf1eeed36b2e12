"""News as a feed of the poller: each article once, however often it is listed."""

import logging
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from ingest.article import BODY_CHARACTERS, Article, Listed
from ingest.feed import Digest, Request
from ingest.publish import article_record
from ingest.sources import NewsSource

log = logging.getLogger(__name__)

# Articles are asked for again for this long: providers list some of them late.
OVERLAP_MS: Final = 6 * 3_600_000
# An empty page is the end of the list or a faulty answer; so many in a row are the end.
EMPTY_ANSWERS: Final = 3
# What a poll finds became available since the one before, if that one was at most so many periods
# ago; after a longer pause nobody has measured when.
MEASURED_PERIODS: Final = 2
# A first start, or one after a long time, goes back at most this far.
BACKFILL_MS: Final = 7 * 86_400_000


@dataclass(slots=True)
class _Walk:
    """One poll's way back from now to what is known."""

    begun_ms: int
    oldest_ms: int
    to_ms: int
    complete: bool = False
    empty: int = 0
    found: dict[str, Article] = field(default_factory=dict)


class NewsFeed:
    """The articles of one provider, polled every `period_ms`.

    Providers list the newest first. A poll pages back until it meets what the polls before have
    brought, and only then publishes, oldest first: a poll that breaks off leaves nothing behind
    that would look like a cursor. Behind the articles goes a sign of life.

    An article that the last poll did not list and this one does became available now. One that may
    have been there for longer (a first start, an outage) counts from `delay_ms` after its
    publication, but not from later than now.
    """

    kind = "articles"

    def __init__(self, source: NewsSource, *, topic: str, period_ms: int, delay_ms: int) -> None:
        self.name = f"news {source.name}"
        self._source = source
        self._topic = topic
        self._period_ms = period_ms
        self._delay_ms = delay_ms
        self._listed_until: int | None = None
        self._known: dict[str, int] = {}
        self._newest_ms: int | None = None
        self._walk = _Walk(0, 0, 0, complete=True)

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
        self._walk = _Walk(now_ms, oldest_ms, now_ms)
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
        for article in map(_cut, answer):
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
            found = sorted(walk.found.values(), key=lambda a: (a.published_at, a.id))
            digest.published = [self._dated(article, now_ms) for article in found]
            life = Listed(self._source.name, walk.begun_ms)
            digest.records = [article_record(self._topic, a) for a in (*digest.published, life)]
        return digest

    def settle(self, digest: Digest) -> None:
        """Note what is on the topic now."""
        for article in digest.published:
            self.saw(article)
        if self._walk.complete:
            self._listed_until = self._walk.begun_ms

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

    def _dated(self, article: Article, now_ms: int) -> Article:
        since, period_ms = self._listed_until, self._period_ms
        if since is not None and self._walk.begun_ms - since <= MEASURED_PERIODS * period_ms:
            return replace(article, available_at=now_ms)
        return replace(article, available_at=min(now_ms, article.published_at + self._delay_ms))

    def _reject(self, article: Article, reason: str, digest: Digest) -> None:
        digest.rejected.append(reason)
        self._known[article.id] = max(article.published_at, self._walk.oldest_ms)
        log.warning(
            "event=article_rejected provider=%s id=%r reason=%r",
            *(article.provider, article.id[:128], reason),
        )


def _cut(article: Article) -> Article:
    return replace(article, body=article.body[:BODY_CHARACTERS])
