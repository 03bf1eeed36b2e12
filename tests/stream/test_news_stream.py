"""The news in the stream: what a batch over the same bars and articles says, and no waiting."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from conf.errors import ConfigurationError
from conf.sections import Registry as RegistrySettings
from conf.sections import Sentiment
from ingest.article import Article, Listed
from ingest.bar import Bar
from ingest.publish import Publisher, Record, article_record
from ingest.topics import ensure_topics
from jobs.machine.broker import EmbeddedBroker
from model.layout import NEWS_COLUMNS
from model.news import news_of_bars
from model.registry import Registry
from store.articles import scored
from stream.query import start_query
from tests.artifacts import save_random_artifact
from tests.predictions import assert_same_predictions, batch_predictions
from tests.streams import RunningStream, stream_settings

MINUTE = 60_000
TITLES = ("Bitcoin soars", "Coins stolen by hackers", "A meeting in Lisbon", "Inflows surge")


class NewsStream(RunningStream):
    """A stream that reads news, and the topic they come on."""

    def send_news(self, *sent: Article | Listed | bytes | None) -> None:
        """Send articles, heartbeats or raw messages, in order."""
        kafka = self.settings.kafka
        with Publisher(kafka) as publisher:
            publisher.send(
                article_record(kafka.news_topic, one)
                if isinstance(one, Article | Listed)
                else Record(kafka.news_topic, b"raw", one)  # type: ignore[arg-type]
                for one in sent
            )
        self.process()

    def rejected(self) -> list[str]:
        found = map(json.loads, self.topic(self.settings.kafka.rejected_topic))
        return [row["reason"] for row in found if row["topic"] == self.settings.kafka.news_topic]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> RegistrySettings:
    """1m-2 is champion and reads news; 1m-1 was before it and reads none."""
    folder = tmp_path_factory.mktemp("registry")
    settings = RegistrySettings(
        tracking_uri=f"sqlite:///{folder}/mlflow.db", artifact_dir=str(folder / "models")
    )
    made = Registry.of(settings)
    for seed in (1, 2):
        save_random_artifact(folder / f"{seed}", seed, reads_news=seed == 2)
        made.promote(made.register(folder / f"{seed}", "1m"))
    return settings


@pytest.fixture
def stream(
    spark: SparkSession,
    broker: EmbeddedBroker,
    topic_prefix: str,
    tmp_path: Path,
    registry: RegistrySettings,
) -> Iterator[NewsStream]:
    settings = stream_settings(broker, topic_prefix, tmp_path, registry)
    names = {"news_topic": f"{topic_prefix}-news", "sentiment_topic": f"{topic_prefix}-sentiment"}
    ensure_topics(settings.kafka, dict.fromkeys(names.values(), 2))
    changed = {
        "kafka": settings.kafka.model_copy(update=names),
        "sentiment": Sentiment(enabled=True, silent_after_s=600, max_articles_per_micro_batch=200),
    }
    running = NewsStream(spark, settings.model_copy(update=changed))
    yield running
    running.stop()


@pytest.fixture
def articles(btc: list[Bar]) -> list[Article]:
    """One about every third minute; a third of them about another coin, one in five about none."""
    start = btc[0].open_time
    return [
        article(f"{i}", start + i * 3 * MINUTE + i * 777, ("ETH",) if i % 3 == 0 else coins)
        for i, coins in enumerate((("BTC", "Trading"), (), ("BTC",), ("BTC",), ("BTC",)) * 12)
    ]


def article(id_: str, available_at: int, categories: tuple[str, ...] = ("BTC",)) -> Article:
    title = TITLES[sum(map(ord, id_)) % len(TITLES)]
    texts = (title, "", "wire", categories, (), "https://example.org", "EN", None)
    return Article("wire", id_, available_at - 900_000, *texts, available_at, available_at)


def alive(bar: Bar) -> Listed:
    """A heartbeat at the close of a bar."""
    return Listed("wire", bar.open_time + MINUTE)


def until(articles: Iterable[Article], bar: Bar) -> list[Article]:
    return [one for one in articles if one.available_at < bar.open_time + MINUTE]


def test_the_stream_predicts_what_a_batch_over_the_same_bars_and_news_predicts(
    stream: NewsStream, btc: list[Bar], articles: list[Article], registry: RegistrySettings
) -> None:
    done: list[Article] = []
    for part in (btc[:90], btc[90:95], btc[95:]):
        news = [one for one in until(articles, part[-1]) if one not in done]
        stream.send_news(*news, *news[:3], alive(part[-1]))  # some of them twice
        done += news
        stream.publish(part)
    expected = batch_predictions(btc, registry, "1m-2", scored(articles))
    found = stream.table("predictions")
    assert_same_predictions(found, expected)
    assert set(found["model_version"]) == {"1m-2"}

    with_news = stream.table("sentiment").sort_values("open_time")
    start = btc[0].open_time
    columns = news_of_bars(scored(articles), "BTC-USDT", MINUTE, start, len(btc))
    assert with_news[list(NEWS_COLUMNS)].to_numpy().tolist() == pytest.approx(columns[60:])
    assert 0 in with_news["count"].tolist()  # no news is a row that says so
    on_topic = [json.loads(m) for m in stream.topic(stream.settings.kafka.sentiment_topic)]
    assert sorted(row["open_time"] for row in on_topic) == [bar.open_time for bar in btc[60:]]
    assert set(stream.table("articles")["id"]) == {one.id for one in articles}


def test_a_dead_source_of_news_delays_nothing_and_the_row_says_which_model_served(
    stream: NewsStream, btc: list[Bar], articles: list[Article], registry: RegistrySettings
) -> None:
    stream.send_news(*until(articles, btc[99]), alive(btc[99]))
    stream.publish(btc[:150])
    stream.publish(btc[150:])
    found = stream.table("predictions")
    # the last heartbeat, ten minutes more, then the model that needs none
    last_with_news = pd.Timestamp(btc[109].open_time + MINUTE, unit="ms", tz="UTC")
    reader = batch_predictions(btc, registry, "1m-2", scored(until(articles, btc[99])))
    other = batch_predictions(btc, registry, "1m-1")
    expected = pd.concat(
        [reader[reader["as_of"] <= last_with_news], other[other["as_of"] > last_with_news]]
    )
    assert_same_predictions(found, expected)
    versions = found.groupby(found["as_of"] > last_with_news)["model_version"].unique()
    assert [list(v) for v in versions] == [["1m-2"], ["1m-1"]]
    assert len(stream.table("sentiment")) == 50


def test_an_article_that_comes_late_changes_no_prediction_that_was_made(
    stream: NewsStream, btc: list[Bar], registry: RegistrySettings
) -> None:
    stream.send_news(alive(btc[99]))
    stream.publish(btc[:100])
    before = stream.table("predictions")
    late = article("late", btc[80].open_time)
    stream.send_news(late, alive(btc[-1]))
    pd.testing.assert_frame_equal(stream.table("predictions"), before)
    stream.publish(btc[100:])
    found, made = stream.table("predictions"), set(before["as_of"])
    with_late = batch_predictions(btc, registry, "1m-2", scored([late]))
    after = with_late[~with_late["as_of"].isin(made)]
    assert_same_predictions(found[~found["as_of"].isin(made)], after)


def test_a_stream_that_starts_again_knows_its_news(
    stream: NewsStream, btc: list[Bar], articles: list[Article], registry: RegistrySettings
) -> None:
    stream.send_news(*articles, alive(btc[-1]))
    stream.publish(btc[:100])
    stream.stop()
    stream.queries.clear()
    stream.publish(btc[100:])
    expected = batch_predictions(btc, registry, "1m-2", scored(articles))
    assert_same_predictions(stream.table("predictions"), expected)


def test_messages_of_every_kind_are_scored_or_rejected_with_a_reason(
    stream: NewsStream, btc: list[Bar], registry: RegistrySettings
) -> None:
    at = btc[0].open_time
    good = article("good", at)
    scored_ones = [
        replace(good, id="markup", body="<p>Prices <b>soar</b></p>" * 300),
        replace(good, id="arabic", title="بيتكوين يرتفع\u200f", body="\u202eتحطم"),
        replace(good, id="chinese", title="比特币暴涨"),
        replace(good, id="emoji", title="🚀" * 300),
        replace(good, id="long", body="Up. " * 2_500),
    ]
    million = replace(good, id="million", body="Up. " * 200_000)
    stream.send_news(
        *scored_ones,
        million,
        replace(good, id="empty", title=" "),
        replace(good, id="future", available_at=2**62),
        b"hello",
        b"[" * 100_000,
        good.to_json().replace(b'"Bitcoin', b'"\\ud800Bitcoin').replace(b'"A ', b'"\\ud800A '),
        None,
        alive(btc[-1]),
    )
    stream.publish(btc)
    assert set(stream.table("articles")["id"]) >= {one.id for one in scored_ones}
    rejected = stream.rejected()
    assert len(rejected) + len(stream.table("articles")) == 12
    for reason in (
        "body must be at most 10000 characters long",
        "title must not be empty",
        "available_at must lie between published_at and now",
        "the message is empty",
    ):
        assert reason in rejected
    found = stream.table("predictions")
    assert len(found) == 3 * (len(btc) - 60)
    assert found["model_version"].eq("1m-2").all()


def test_a_burst_is_worked_off_in_small_micro_batches(stream: NewsStream, btc: list[Bar]) -> None:
    burst = [article(str(i), btc[i % 60].open_time + i) for i in range(700)]
    stream.send_news(*burst, alive(btc[-1]))
    articles = stream.table("articles")
    assert len(articles) == 700
    limit = stream.settings.sentiment.max_articles_per_micro_batch
    assert articles.groupby("batch", observed=True).size().max() <= limit
    stream.publish(btc[:70])
    assert len(stream.table("predictions")) == 30


def test_the_news_cannot_be_switched_on_or_off_within_a_checkpoint(
    stream: NewsStream, btc: list[Bar]
) -> None:
    stream.send_news(alive(btc[0]))
    stream.stop()
    off = stream.settings.model_copy(update={"sentiment": Sentiment()})
    with pytest.raises(ConfigurationError, match=r"sentiment\.enabled"):
        start_query(stream.spark, off)
