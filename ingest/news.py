"""News as a feed of the poller: each article once, however often it is listed."""

import logging
from dataclasses import replace
from functools import partial
from typing import Any, Final

from conf.events import event
from conf.sections import Kafka
from ingest.article import BODY_CHARACTERS, Article, Listed
from ingest.clock import Clock
from ingest.feed import Feed, Findings, Steps
from ingest.publish import article_record, unreadable_record
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


class NewsFeed(Feed):
    """The articles of one provider, polled every `period_ms`.

    `topics` names where articles and rejections go. Providers list the newest first. A poll pages
    back until it meets what the polls before have brought, and only then publishes, oldest first: a
    poll that breaks off leaves nothing behind that would look like a cursor. The articles are
    followed by a watermark, `Listed`.

    An article that the last poll did not list and this one does became available now. One that may
    have been there for longer (a first start, an outage) counts from `delay_ms` after its
    publication, but not from later than now.
    """

    kind = "articles"

    def __init__(self, source: NewsSource, topics: Kafka, *, period_ms: int, delay_ms: int) -> None:
        super().__init__(f"news {source.provider}", period_ms)
        self._source = source
        self._topics = topics
        self._delay_ms = delay_ms
        self._listed_until: int | None = None
        self._known: dict[str, int] = {}
        self._newest_ms: int | None = None

    def saw(self, article: Article) -> None:
        """Note an article that is on the topic."""
        if article.provider == self._source.provider:
            self._known[article.id] = article.published_at
            self._newest_ms = max(self._newest_ms or 0, article.published_at)

    def poll(self, clock: Clock) -> Steps:
        """Page back from now to the overlap with what is known, then publish what is new."""
        begun_ms = to_ms = clock.now_ms()
        oldest_ms = begun_ms - BACKFILL_MS
        if self._newest_ms is not None:
            oldest_ms = max(oldest_ms, self._newest_ms - OVERLAP_MS)
        self._known = {id_: at for id_, at in self._known.items() if at >= oldest_ms - OVERLAP_MS}
        found: dict[str, Article] = {}
        empty = 0
        while to_ms >= oldest_ms and empty < EMPTY_ANSWERS:
            answer: list[Article] | None = yield partial(self._source.articles, to_ms)
            if answer is None:
                return  # the next poll begins anew
            found |= {article.id: article for article in answer if article.id not in found}
            listed = [article.published_at for article in answer if article.published_at > 0]
            empty = 0 if listed else empty + 1
            # A page that lists one second only must not be asked for for ever.
            to_ms = min([to_ms - 1_000, *listed]) if listed else to_ms
        yield from self._publish(found, begun_ms, oldest_ms, clock.now_ms())
        self._listed_until = begun_ms

    def _publish(
        self, found: dict[str, Article], begun_ms: int, oldest_ms: int, now_ms: int
    ) -> Steps:
        """Publish the articles that are new and keep the rules, oldest first; then note them."""
        findings, new = Findings(), []
        for article in found.values():
            if article.id in self._known:
                continue
            cut = replace(article, body=article.body[:BODY_CHARACTERS])
            reason = cut.rejection_reason(now_ms)
            if reason is not None:
                self._known[article.id] = max(article.published_at, oldest_ms)
                findings.rejected.append(reason)
                topic, seen = self._topics.rejected_topic, cut.to_json().decode()
                findings.records.append(
                    unreadable_record(topic, article.provider, seen, reason, now_ms)
                )
                about: dict[str, Any] = {
                    "provider": article.provider,
                    "id": article.id[:128],
                    "reason": reason,
                }
                event(log, "article_rejected", level=logging.WARNING, **about)
            elif article.published_at >= oldest_ms:
                new.append(replace(cut, available_at=self._available_at(cut, begun_ms, now_ms)))
        new.sort(key=lambda article: (article.published_at, article.id))
        messages: list[Article | Listed] = [*new, Listed(self._source.provider, begun_ms)]
        findings.records += [article_record(self._topics.news_topic, one) for one in messages]
        findings.new = len(new)
        yield findings
        for article in new:
            self.saw(article)

    def _available_at(self, article: Article, begun_ms: int, now_ms: int) -> int:
        since_ms = self._listed_until
        if since_ms is not None and begun_ms - since_ms <= MEASURED_PERIODS * self._period_ms:
            return now_ms
        return min(now_ms, article.published_at + self._delay_ms)
