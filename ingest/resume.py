"""Where the last run stopped, read back from the topics themselves."""

import logging
from collections.abc import Iterable, Sequence

from conf.errors import MalformedArticle
from conf.kafka import Broker
from ingest.article import Article, read_message
from ingest.bar import Bar
from ingest.cursor import Report, bars_since, messages_since
from ingest.feed import BarFeed
from ingest.news import BACKFILL_MS, OVERLAP_MS, NewsFeed

log = logging.getLogger(__name__)


def resume_bars(
    feeds: Sequence[BarFeed],
    broker: Broker,
    topic: str,
    now_ms: int,
    report: Report = lambda done, total: None,
) -> int:
    """Tell each feed which of its bars are on `topic`; return how many bars are still missing.

    Reads only what was sent since the oldest bar that any feed may want. Raises BrokerUnavailable.
    """
    missing = {feed: feed.missing(now_ms) for feed in feeds}
    if not missing:
        return 0
    by_series = {(feed.series.symbol, feed.series.interval): feed for feed in feeds}
    since_ms = min(feed.coverage.first_ms for feed in feeds)
    for bar in bars_since(broker, topic, since_ms, report):
        feed = by_series.get((bar.symbol, bar.interval))
        if feed is not None:
            feed.saw(bar)
    left = sum(feed.missing(now_ms) for feed in feeds)
    log.info(
        "event=resumed series=%d wanted=%d on_topic=%d missing=%d",
        *(len(feeds), sum(missing.values()), sum(missing.values()) - left, left),
    )
    return left


def resume_news(feed: NewsFeed, broker: Broker, topic: str, now_ms: int) -> None:
    """Tell `feed` which articles are on `topic`; raises BrokerUnavailable."""
    since_ms = now_ms - BACKFILL_MS - OVERLAP_MS
    for value in messages_since(broker, topic, since_ms):
        try:
            found = read_message(value)
            if isinstance(found, Article):
                feed.saw(found)
        except MalformedArticle as error:
            log.debug("event=cursor_passed_over topic=%s reason=%r", topic, str(error))


def without_known(bars: Iterable[Bar], known: Iterable[Bar]) -> Iterable[Bar]:
    """`bars` less those that `known` holds: what a broken-off replay still has to publish."""
    seen = {(bar.symbol, bar.interval, bar.open_time) for bar in known}
    if not seen:
        return bars
    return (bar for bar in bars if (bar.symbol, bar.interval, bar.open_time) not in seen)
