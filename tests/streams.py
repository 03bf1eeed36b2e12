"""A stream of a test's own: topics, warehouse and checkpoint, on the shared Spark and broker."""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from kafka import KafkaProducer
from pyspark.sql import SparkSession
from pyspark.sql.streaming import StreamingQuery

from conf.sections import Kafka, Stream, Warehouse
from conf.sections import Registry as RegistrySettings
from conf.settings import Settings
from ingest.bar import Bar
from ingest.cursor import messages_since
from ingest.publish import BarPublisher
from ingest.topics import ensure_topics
from jobs.machine.broker import EmbeddedBroker
from stream.query import checkpoint_dir, start_query


@dataclass
class RunningStream:
    """One query with topics, warehouse and checkpoint of its own."""

    spark: SparkSession
    settings: Settings
    queries: list[StreamingQuery] = field(default_factory=list)

    def publish(self, bars: Iterable[Bar]) -> None:
        """Send bars and let the stream process them: at least one micro-batch of their own."""
        kafka = self.settings.kafka
        with BarPublisher(kafka, kafka.bars_topic) as publisher:
            publisher.publish(bars)
        self.process()

    def send(self, *messages: bytes | None) -> None:
        """Send raw messages, in order, and let the stream process them."""
        kafka = self.settings.kafka
        with KafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
            for message in messages:
                producer.send(kafka.bars_topic, message, key=b"any", partition=0).get(60)
        self.process()

    def process(self) -> None:
        """Start the query if it is not running; return once everything published is written."""
        if not self.queries:
            self.queries.append(start_query(self.spark, self.settings))
        self.queries[0].processAllAvailable()

    def table(self, name: str) -> pd.DataFrame:
        """A table of the warehouse, as pandas reads it."""
        folder = Path(self.settings.warehouse.dir) / name
        return pd.read_parquet(folder) if folder.exists() else pd.DataFrame()

    def topic(self, name: str) -> list[bytes]:
        """Every message of a topic."""
        return read_topic(self.settings.kafka.bootstrap_servers, name)

    def stop(self) -> None:
        for query in self.queries:
            query.stop()


def read_topic(bootstrap_servers: str, topic: str) -> list[bytes]:
    return list(messages_since(bootstrap_servers, topic, 0))


def stream_settings(
    broker: EmbeddedBroker,
    topic_prefix: str,
    folder: Path,
    registry: RegistrySettings,
) -> Settings:
    """Settings with topics and folders of their own; the topics exist afterwards."""
    kafka = Kafka(
        **broker.connection.model_dump(),
        bars_topic=f"{topic_prefix}-bars",
        rejected_topic=f"{topic_prefix}-rejected",
        predictions_topic=f"{topic_prefix}-predictions",
    )
    topics = (kafka.bars_topic, kafka.rejected_topic, kafka.predictions_topic)
    ensure_topics(kafka, dict.fromkeys(topics, 2), timeout_s=60.0)
    return Settings(
        kafka=kafka,
        warehouse=Warehouse(
            dir=str(folder / "warehouse"), checkpoint_dir=str(folder / "checkpoints")
        ),
        stream=Stream(max_bars_per_micro_batch=2_000),
        registry=registry,
    )


def environment(settings: Settings) -> dict[str, str]:
    """The settings as a person would give them to a program of its own."""
    return {
        "CANDLECAST_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "CANDLECAST_KAFKA__BARS_TOPIC": settings.kafka.bars_topic,
        "CANDLECAST_KAFKA__REJECTED_TOPIC": settings.kafka.rejected_topic,
        "CANDLECAST_KAFKA__PREDICTIONS_TOPIC": settings.kafka.predictions_topic,
        "CANDLECAST_WAREHOUSE__DIR": settings.warehouse.dir,
        "CANDLECAST_WAREHOUSE__CHECKPOINT_DIR": settings.warehouse.checkpoint_dir,
        "CANDLECAST_WINDOW__SHARDS": str(settings.window.shards),
        "CANDLECAST_REGISTRY__TRACKING_URI": settings.registry.tracking_uri,
        "CANDLECAST_REGISTRY__ARTIFACT_DIR": settings.registry.artifact_dir,
        "CANDLECAST_STREAM__MAX_BARS_PER_MICRO_BATCH": str(
            settings.stream.max_bars_per_micro_batch
        ),
        "CANDLECAST_MARKET__LEADERS": json.dumps(settings.market.leaders),
        "CANDLECAST_MARKET__WAIT_S": str(settings.market.wait_s),
        "CANDLECAST_STREAM__METRICS_PORT": "0",
    }


def messages_written(settings: Settings, most: int = sys.maxsize) -> int:
    """How many messages the committed micro-batches of a query's checkpoint have read, of each
    partition its first `most`: wake-ups lie behind them."""
    checkpoint = Path(checkpoint_dir(settings))
    numbers = [int(file.name) for file in (checkpoint / "commits").glob("[0-9]*")]
    if not numbers:
        return 0
    log = (checkpoint / "offsets" / str(max(numbers))).read_text().splitlines()
    (topic,) = json.loads(log[2]).values()
    return sum(min(read, most) for read in topic.values())
