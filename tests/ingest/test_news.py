"""News: each article once, whatever the provider lists and however the program ends."""

import json
import threading
from collections import Counter
from collections.abc import Callable

import pytest

from ingest.article import Article
from ingest.budget import RateBudget
from ingest.cursor import messages_since
from ingest.metrics import IngestMetrics
from ingest.news import NewsFeed
from ingest.poll import Poller
from ingest.publish import Publisher
from ingest.resume import resume_news
from ingest.sources import SourceOptions, open_news
from tests.ingest.market_server import FIXTURES, PASSING, MarketServer, SimulatedClock, faulty
from tests.ingest.runs import KEY, START_MS, Run

HOUR_S = 3_600
PERIOD_MS = 600_000


@pytest.fixture
def read_news(
    new_run: Callable[..., Run], server: MarketServer, clock: SimulatedClock
) -> Callable[..., list[Article]]:
    """Start, resume, poll up to a time, and return every article on the topic."""
    run = new_run()
    topic = f"{run.topic}.news"

    def read(until_ms: int, provider: str = "cryptocompare", attempts: int = 5) -> list[Article]:
        options = SourceOptions(clock=clock, api_key=KEY, base_url=server.url, timeout_s=0.3)
        feed = NewsFeed(open_news(provider, options), topic=topic, period_ms=PERIOD_MS)
        resume_news(feed, run.bootstrap_servers, topic, clock.now_ms())
        with Publisher(run.bootstrap_servers) as publisher:
            Poller(
                [feed],
                publisher,
                clock=clock,
                budget=RateBudget({}, clock.now_ms()),
                metrics=IngestMetrics(),
                stopping=threading.Event(),
                attempts=attempts,
            ).run(until_ms)
        return [
            Article.from_json(value) for value in messages_since(run.bootstrap_servers, topic, 0)
        ]

    return read


def write(server: MarketServer, number: int, published_on: int, **changed: object) -> None:
    """Have the provider list one article more."""
    article = {
        "id": str(number),
        "published_on": published_on,
        "title": f"Title {number}",
        "body": "A body.",
        "source": "wire",
        "tags": "Bitcoin|Market",
        "categories": "BTC|Trading",
        "url": f"https://example.org/{number}",
        "lang": "EN",
    }
    server.articles.append({**article, **changed})


@pytest.mark.parametrize("provider", ["cryptocompare", "coindesk"])
def test_a_week_of_articles_comes_oldest_first_and_each_once(
    provider: str, read_news: Callable[..., list[Article]], server: MarketServer
) -> None:
    for number in range(330):
        write(server, number, START_MS // 1000 - number * 1_800)
    found = read_news(START_MS, provider)
    assert [article.id for article in found] == [str(number) for number in reversed(range(330))]
    assert {article.provider for article in found} == {provider}
    assert found[0].tags == ("Bitcoin", "Market")
    assert found[0].categories == ("BTC", "Trading")
    assert found[0].sentiment == ("POSITIVE" if provider == "coindesk" else None)


def test_a_restart_and_later_polls_repeat_nothing(
    read_news: Callable[..., list[Article]], server: MarketServer, clock: SimulatedClock
) -> None:
    for number in range(60):
        write(server, number, START_MS // 1000 - number * 60)
    read_news(START_MS + HOUR_S * 1000)
    for number in range(60, 70):
        write(server, number, clock.now_ms() // 1000 - number)
    found = read_news(START_MS + 2 * HOUR_S * 1000)
    assert Counter(article.id for article in found) == {str(n): 1 for n in range(70)}


def test_an_article_listed_late_is_found_behind_newer_ones(
    read_news: Callable[..., list[Article]], server: MarketServer
) -> None:
    write(server, 1, START_MS // 1000 - 60)
    read_news(START_MS)
    write(server, 2, START_MS // 1000 - HOUR_S)
    assert [article.id for article in read_news(START_MS + PERIOD_MS)] == ["1", "2"]


def test_a_walk_that_breaks_off_leaves_nothing_that_looks_like_a_cursor(
    read_news: Callable[..., list[Article]], server: MarketServer
) -> None:
    for number in range(120):
        write(server, number, START_MS // 1000 - number * 60)
    server.fault = lambda path: "http_500" if len(server.calls) > 1 else None
    assert read_news(START_MS, attempts=2) == []
    server.fault = lambda path: None
    assert len(read_news(START_MS + PERIOD_MS)) == 120


def test_a_day_of_faults_brings_every_article_once(
    read_news: Callable[..., list[Article]], server: MarketServer, clock: SimulatedClock
) -> None:
    server.stall_s = 0.5
    server.fault = faulty(3, 0.2, PASSING)
    for number in range(144):
        write(server, number, START_MS // 1000 + number * 600)
    # What is listed is what has been published by now.
    for hour in (6, 12, 18, 24):
        read_news(START_MS + hour * HOUR_S * 1000)
    server.fault = lambda path: None
    found = read_news(clock.now_ms() + PERIOD_MS)
    assert Counter(article.id for article in found) == {str(n): 1 for n in range(144)}


def test_an_article_without_what_every_article_has_is_refused_and_the_rest_is_read(
    read_news: Callable[..., list[Article]],
    server: MarketServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write(server, 1, START_MS // 1000 - 60)
    write(server, 2, START_MS // 1000 - 120, title="")
    write(server, 3, START_MS // 1000 - 180, id="")
    assert [article.id for article in read_news(START_MS + 3 * PERIOD_MS)] == ["1"]
    assert caplog.text.count("event=article_rejected") == 2


def test_the_recorded_list_of_2020_is_read(
    read_news: Callable[..., list[Article]], server: MarketServer
) -> None:
    body = json.loads((FIXTURES / "min_v2_2020_news.json").read_text())["body"]
    shift = START_MS // 1000 - 60 - body["Data"][0]["published_on"]
    server.articles = [{**row, "published_on": row["published_on"] + shift} for row in body["Data"]]
    found = read_news(START_MS)
    assert [(a.id, a.source, a.tags) for a in found] == [
        ("25113102", "cryptobriefing", ("Analysis", "Hacks")),
        ("25113336", "trustnodes", ("Ethereum", "News", "Smart Contracts")),
    ]
