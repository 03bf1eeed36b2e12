"""The stream: bars from Kafka, predictions to Kafka and Parquet.

Run from a checkout as `spark-submit jobs/predict_stream.py`; everything comes from the settings.
"""

import argparse
import logging
import sys

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming import StreamingQuery

from conf.errors import CandlecastError
from conf.intervals import INTERVAL_MS
from conf.settings import Settings, load_settings
from ingest.publish import ensure_topics
from jobs.logs import configure_logging
from jobs.metrics import StreamMetrics
from jobs.read_bars import read_messages
from jobs.sinks import MicroBatchWriter
from jobs.window_operator import with_windows
from model.champions import Champions
from model.registry import Registry

log = logging.getLogger(__name__)


def build_session(settings: Settings) -> SparkSession:
    """The session, with what the stream's correctness rests on."""
    return (
        SparkSession.builder.appName("candlecast-predict")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", str(settings.window.shards))
        .config(
            "spark.sql.streaming.stateStore.providerClass",
            "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider",
        )
        .config("spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled", "true")
        .config("spark.sql.streaming.noDataMicroBatches.enabled", "false")
        # INT96, Spark's default, carries no zone and no statistics for a reader to skip by.
        .config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
        .getOrCreate()
    )


def read_topic(spark: SparkSession, settings: Settings) -> DataFrame:
    """The topic's messages from its beginning, or from where the checkpoint stands."""
    return (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", settings.kafka.bootstrap_servers)
        .option("subscribe", settings.kafka.bars_topic)
        .option("startingOffsets", "earliest")
        .option("failOnDataLoss", "true")
        .option("maxOffsetsPerTrigger", settings.stream.max_bars_per_micro_batch)
        .load()
    )


def start_query(
    spark: SparkSession, settings: Settings, metrics: StreamMetrics | None = None
) -> StreamingQuery:
    """Wire topic, window state, model and sinks together, and start."""
    window = settings.window
    bars = read_messages(read_topic(spark, settings), window.shards)
    registry = Registry(settings.registry.tracking_uri, settings.registry.artifact_dir)
    writer = MicroBatchWriter(
        settings.kafka.bootstrap_servers,
        settings.kafka.predictions_topic,
        settings.kafka.rejected_topic,
        settings.warehouse.dir,
        Champions(registry, tuple(INTERVAL_MS), window.lookback),
        (metrics or StreamMetrics()).written,
    )
    return (
        with_windows(bars, window.lookback, window.late_bars)
        .writeStream.queryName("predict")
        .option("checkpointLocation", f"{settings.warehouse.checkpoint_dir}/predict")
        .trigger(processingTime=f"{settings.stream.trigger_s} seconds")
        .foreachBatch(writer)
        .start()
    )


def main() -> int:
    """Run until stopped; the exit code says what a supervisor should do."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    configure_logging()
    try:
        settings = load_settings()
        kafka = settings.kafka
        topics = (kafka.bars_topic, kafka.rejected_topic, kafka.predictions_topic)
        ensure_topics(kafka.bootstrap_servers, dict.fromkeys(topics, kafka.partitions))
        metrics = StreamMetrics()
        metrics.serve(settings.stream.metrics_port, settings.stream.metrics_host)
        session = build_session(settings)
        session.streams.addListener(metrics)
        query = start_query(session, settings, metrics)
        log.info("query=%s topic=%s", query.id, settings.kafka.bars_topic)
        query.awaitTermination()
    except CandlecastError as error:
        log.error("%s", error)
        return error.exit_code
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
