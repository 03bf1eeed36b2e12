"""News: each article once, whatever the provider lists and however the program ends."""

import json
from collections import Counter
from collections.abc import Callable

import pytest

from conf.errors import MalformedArticle
from conf.sections import Ingest
from ingest.article import BODY_CHARACTERS, Article, Listed, read_message
from ingest.budget import RateBudget
from ingest.cursor import messages_since, resume_news
from ingest.metrics import IngestMetrics
from ingest.news import NewsFeed
from ingest.poll import Poller
from ingest.publish import Publisher, article_record
from ingest.sources import NewsSource, SourceOptions, open_source
from tests.ingest.market_server import FIXTURES, PASSING, MarketServer, SimulatedClock, faulty
from tests.ingest.runs import IMPATIENT_S, PATIENT_S, START_MS, Run

HOUR_S = 3_600
PERIOD_MS = 600_000
DELAY_MS = 900_000


@pytest.fixture
def run(new_run: Callable[..., Run]) -> Run:
    return new_run()


@pytest.fixture
def read_news(
    run: Run, server: MarketServer, clock: SimulatedClock
) -> Callable[..., list[Article]]:
    """Start, resume, poll up to a time, and return every article on the topic."""

    def read(
        until_ms: int,
        provider: str = "cryptocompare",
        attempts: int = 5,
        timeout_s: float = PATIENT_S,
    ) -> list[Article]:
        options = SourceOptions(clock=clock, base_url=server.url, timeout_s=timeout_s)
        source = open_source(provider, options)
        assert isinstance(source, NewsSource)
        feed = NewsFeed(source, run.kafka, period_ms=PERIOD_MS, delay_ms=DELAY_MS)
        resume_news(feed, run.kafka, clock.now_ms())
        with Publisher(run.bootstrap_servers) as publisher:
            Poller(
                [feed],
                publisher,
                Ingest(attempts=attempts),
                clock=clock,
                budget=RateBudget({}, clock.now_ms()),
                metrics=IngestMetrics(),
            ).run(until_ms)
        return [found for found in on_topic(run) if isinstance(found, Article)]

    return read


def on_topic(run: Run) -> list[Article | Listed]:
    return [read_message(v) for v in messages_since(run.bootstrap_servers, f"{run.topic}.news", 0)]


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
        read_news(START_MS + hour * HOUR_S * 1000, timeout_s=IMPATIENT_S)
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


def test_an_article_that_was_there_before_anyone_looked_counts_from_the_delay_on(
    read_news: Callable[..., list[Article]], server: MarketServer
) -> None:
    write(server, 1, START_MS // 1000 - 3 * HOUR_S)
    write(server, 2, START_MS // 1000 - 60)
    old, new = read_news(START_MS)
    assert old.available_at == old.published_at + DELAY_MS
    assert START_MS <= new.available_at < new.published_at + DELAY_MS


def test_an_article_that_a_later_poll_finds_counts_from_then_on(
    read_news: Callable[..., list[Article]], server: MarketServer
) -> None:
    write(server, 1, START_MS // 1000 - 3 * HOUR_S)
    write(server, 2, START_MS // 1000 + 610)
    found = read_news(START_MS + 3 * PERIOD_MS)
    assert found[1].available_at - START_MS in range(2 * PERIOD_MS, 2 * PERIOD_MS + 60_000)


def test_after_an_outage_nobody_has_measured_when_an_article_became_available(
    read_news: Callable[..., list[Article]], server: MarketServer
) -> None:
    read_news(START_MS)
    write(server, 1, START_MS // 1000 + HOUR_S)
    server.fault = lambda path: "http_500"
    read_news(START_MS + 4 * HOUR_S * 1000, attempts=1)
    server.fault = lambda path: None
    (found,) = read_news(START_MS + 5 * HOUR_S * 1000)
    assert found.available_at == found.published_at + DELAY_MS


def test_each_poll_leaves_a_watermark_behind_its_articles(
    read_news: Callable[..., list[Article]], run: Run, server: MarketServer
) -> None:
    write(server, 1, START_MS // 1000 - 60)
    read_news(START_MS + 2 * PERIOD_MS)
    article, *marks = on_topic(run)
    assert isinstance(article, Article)
    assert all(isinstance(mark, Listed) for mark in marks)
    times = [mark.listed_until for mark in marks if isinstance(mark, Listed)]
    assert times == sorted(set(times))
    assert len(times) >= 2


def test_a_failing_provider_leaves_no_watermark(
    read_news: Callable[..., list[Article]], run: Run, server: MarketServer
) -> None:
    server.fault = lambda path: "http_500"
    read_news(START_MS + 3 * PERIOD_MS, attempts=1)
    assert on_topic(run) == []


def test_a_body_of_a_megabyte_is_cut_and_a_title_of_one_refused(
    read_news: Callable[..., list[Article]], server: MarketServer
) -> None:
    write(server, 1, START_MS // 1000 - 60, body="Up. " * 250_000)
    write(server, 2, START_MS // 1000 - 120, title="Up. " * 250_000)
    (article,) = read_news(START_MS + PERIOD_MS)
    assert (article.id, len(article.body)) == ("1", BODY_CHARACTERS)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"title": 5}, "title is of another type"),
        ({"published_at": True}, "published_at is of another type"),
        ({"categories": "BTC"}, "categories is of another type"),
        ({"categories": ["BTC", 7]}, "categories is of another type"),
        ({"tags": [{"name": "Market"}]}, "tags is of another type"),
        ({"title": "\ud800"}, "title is no valid text"),
        ({"categories": ["\udfff"]}, "categories is no valid text"),
        ({"v": 2}, "v must be 1"),
        ({"listed_until": -1}, "listed_until is no time"),
    ],
)
def test_a_message_that_is_no_article_is_told_by_what_is_wrong(
    changed: dict[str, object], reason: str
) -> None:
    texts = ("Up", "", "wire", ("BTC",), (), "", "EN", None)
    good = json.loads(Article("example", "1", START_MS, *texts, START_MS, START_MS).to_json())
    with pytest.raises(MalformedArticle, match=reason):
        read_message(json.dumps({**good, **changed}).encode())


@pytest.mark.parametrize("field", ["categories", "title", "reach", "published_at"])
def test_a_field_is_refused_however_deep_it_is(field: str) -> None:
    texts = ("Up", "", "wire", ("BTC",), (), "", "EN", None)
    good = json.loads(Article("example", "1", START_MS, *texts, START_MS, START_MS).to_json())
    text = json.dumps({**good, field: "DEEP"})
    # Close to a thousand there are depths that can be read, and gone through no more.
    for depth in (2, 100, *range(800, 1_000), 100_000):
        with pytest.raises(MalformedArticle):
            read_message(text.replace('"DEEP"', "[" * depth + "]" * depth).encode())


def test_what_breaks_a_rule_on_the_topic_is_no_article_that_ingest_knows(
    read_news: Callable[..., list[Article]], run: Run, server: MarketServer
) -> None:
    write(server, 1, START_MS // 1000 - 60)
    texts = ("Up", "", "wire", ("BTC",), (), "", "EN", None)
    foreign = Article("cryptocompare", "x", 2**60, *texts, START_MS, START_MS)
    with Publisher(run.bootstrap_servers) as publisher:
        publisher.send([article_record(f"{run.topic}.news", foreign)])
    assert [article.id for article in read_news(START_MS)] == ["x", "1"]


def test_an_article_written_before_its_availability_was_noted_counts_from_its_fetch() -> None:
    texts = ("Up", "", "wire", ("BTC",), (), "", "EN", None)
    old = json.loads(Article("example", "1", START_MS, *texts, START_MS + 5, START_MS).to_json())
    del old["available_at"], old["reach"]
    read = read_message(json.dumps(old).encode())
    assert isinstance(read, Article)
    assert read.available_at == START_MS + 5


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
