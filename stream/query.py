"""The streaming query: topic, window state, model and sinks wired together."""

import json
from typing import Any, Final

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming import StreamingQuery

from conf.errors import ConfigurationError, DataLoss
from conf.kafka import spark_options
from conf.settings import Settings
from conf.timeframes import TIMEFRAME_MS
from ingest.publish import Publisher
from ingest.sources.candles import lacking_fields
from model.champions import Champions
from model.registry import Registry
from spark.files import read_text, write_text
from spark.partitions import balanced_keys
from stream.checkpoint import begun_micro_batch, require_same_topics
from stream.metrics import StreamMetrics, WrittenMicroBatch
from stream.micro_batch import MicroBatchWriter, Sink
from stream.operator import with_windows
from stream.read_bars import read_messages
from stream.read_news import read_news
from stream.service_record import NOTE, ServiceRecord
from stream.state.shard import STATE_VERSION
from stream.to_kafka import predictions_topic, rejected_topic, sentiment_topic
from stream.to_parquet import ParquetTables
from stream.waker import Waker

# A consumer asks for more while Spark works on what it has, and a broker that has nothing new
# answers after half a second by default: each task would wait as long for its next answer, 1.07 s
# of a latency of 1.89 s.
FETCH_WAIT_MS: Final = 5
# Spark asks where a partition begins and ends, two requests, whenever it has used up what the
# consumer handed out: 500 records by default, at 16 instead of 12 us of the broker's CPU a bar.
POLL_RECORDS: Final = 10_000
# Beside the checkpoint: what its state depends on.
STATE_NOTE: Final = "window.json"
_VERSION_WITHOUT_NOTE: Final = 4


def read_topic(spark: SparkSession, settings: Settings, topic: str, limit: int) -> DataFrame:
    """A topic's messages from its beginning, or from where the checkpoint stands.

    `limit` is the most that a micro-batch takes. Read by no more tasks than there are shards.
    """
    return (
        spark.readStream.format("kafka")
        .options(**spark_options(settings.kafka))
        .option("kafka.fetch.max.wait.ms", FETCH_WAIT_MS)
        .option("kafka.max.poll.records", POLL_RECORDS)
        .option("subscribe", topic)
        .option("startingOffsets", "earliest")
        .option("failOnDataLoss", "true")
        # What a producer took back is no bar.
        .option("kafka.isolation.level", "read_committed")
        .option("maxOffsetsPerTrigger", limit)
        .load()
        .coalesce(settings.window.shards)
    )


def read_all(spark: SparkSession, settings: Settings) -> DataFrame:
    """Bars, and where they count the news, packed for the shards: `CONTENTS`."""
    keys = balanced_keys(spark, settings.window.shards)
    kafka, most = settings.kafka, settings.stream.max_bars_per_micro_batch
    messages = read_topic(spark, settings, kafka.bars_topic, most)
    bars = read_messages(messages, keys, settings.ingest.earliest_ms, settings.market.names)
    if not settings.sentiment.enabled:
        return bars
    most = settings.sentiment.max_articles_per_micro_batch
    return bars.union(read_news(read_topic(spark, settings, kafka.news_topic, most), keys))


def topics_read(settings: Settings) -> list[str]:
    """The topics that the query reads."""
    news = [settings.kafka.news_topic] if settings.sentiment.enabled else []
    return [settings.kafka.bars_topic, *news]


def start_query(
    spark: SparkSession, settings: Settings, metrics: StreamMetrics | None = None
) -> StreamingQuery:
    """Wire topic, window state, model and sinks together, and start.

    Raises an error of ours where the checkpoint is about other settings or topics, or the registry
    is away and nothing has served before.
    """
    window, kafka = settings.window, settings.kafka
    checkpoint = checkpoint_dir(settings)
    metrics = metrics or StreamMetrics()
    require_same_state(spark, settings)
    require_same_topics(spark, checkpoint, kafka, topics_read(settings))
    messages = read_all(spark, settings)
    registry = Registry.of(settings.registry)
    lacking = dict.fromkeys(lacking_fields(settings.ingest.source), settings.ingest.source)
    intervals = tuple(TIMEFRAME_MS)
    champions = Champions(registry, intervals, window.lookback, settings.market, lacking)
    metrics.follow_registry(lambda: champions.away_since)
    record = ServiceRecord(
        spark, f"{checkpoint}/{NOTE}", champions, begun_micro_batch(spark, checkpoint)
    )
    waker = Waker(Publisher(kafka), kafka.bars_topic, settings.market.wait_s)

    def written(batch: WrittenMicroBatch) -> None:
        metrics.written(batch)
        waker.written(batch)

    writer = MicroBatchWriter(all_sinks(settings), record.models, written)
    forget_after_days = settings.stream.forget_after_days
    query = (
        with_windows(messages, window, settings.sentiment, settings.market, forget_after_days)
        .writeStream.queryName("predict")
        .option("checkpointLocation", checkpoint)
        .trigger(processingTime=f"{settings.stream.trigger_s} seconds")
        .foreachBatch(writer)
        .start()
    )
    if settings.market.width:
        waker.follow(query)
    return query


def all_sinks(settings: Settings) -> list[Sink]:
    """Where each micro-batch is written to, in this order: people wait for the predictions."""
    return [
        predictions_topic(settings.kafka),
        ParquetTables(settings.warehouse.dir),
        sentiment_topic(settings.kafka),
        rejected_topic(settings.kafka),
    ]


def checkpoint_dir(settings: Settings) -> str:
    """Where the query keeps its offsets and its window state."""
    return f"{settings.warehouse.checkpoint_dir}/predict"


def _state_wanted(settings: Settings) -> dict[str, Any]:
    market = settings.market.model_dump(exclude={"wait_s"}) if settings.market.width else {}
    own = {"news": settings.sentiment.enabled, "market": market}
    return {**settings.window.model_dump(), **own}


def require_same_state(spark: SparkSession, settings: Settings) -> None:
    """Note with a new checkpoint what its state depends on; compare it with an old one's note, as
    `require_state`."""
    note = f"{settings.warehouse.checkpoint_dir}/{STATE_NOTE}"
    text = read_text(spark, note)
    if text is None:
        noted = {"version": STATE_VERSION, **_state_wanted(settings)}
        write_text(spark, note, json.dumps(noted))
    else:
        require_state(text, settings)


def require_state(text: str, settings: Settings) -> None:
    """Compare what a checkpoint's note says with what this program and its settings want.

    With another number of shards a series would be looked for where its bars are not, and would
    silently start from nothing; Spark knows no query with one topic more or less. Raises
    ConfigurationError where settings differ, and DataLoss where another version of this program
    made the checkpoint.
    """
    directory, wanted = settings.warehouse.checkpoint_dir, _state_wanted(settings)
    noted = {"version": _VERSION_WITHOUT_NOTE, "news": False, "market": {}, **json.loads(text)}
    version = noted.pop("version")
    if version != STATE_VERSION:
        raise DataLoss(
            f"the checkpoint in {directory} holds window state of version {version}, this program "
            f"reads version {STATE_VERSION}: move it away and start again (bars are then read from "
            "the topic's beginning, and the views count each row once)"
        )
    if noted != wanted:
        raise ConfigurationError(
            f"the checkpoint in {directory} was made with [window] {json.dumps(noted)}; the "
            f"settings now say {json.dumps(wanted)} (news: sentiment.enabled; market: [market]): "
            "restore them, or "
            "set another warehouse.checkpoint_dir (bars are then read again from the topic's "
            "beginning)"
        )
