"""The Spark session of the stream."""

from typing import Final

from pyspark.sql import SparkSession

from conf.settings import Settings

SPARK_SECRETS: Final = "(?i)secret|password|token|access[.]?key"
KAFKA_SECRETS: Final = r"jaas|keystore\.key"


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
        # Java code for a whole stage pays where many rows pass. The stream's come packed, a handful
        # a micro-batch: without it a start took 1.5 s less.
        .config("spark.sql.codegen.wholeStage", "false")
        # INT96, Spark's default, carries no zone and no statistics for a reader to skip by.
        .config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
        # Spark's own patterns, and what Kafka calls its secrets: not in UI, event log or plans.
        .config("spark.redaction.regex", f"{SPARK_SECRETS}|{KAFKA_SECRETS}")
        .config("spark.sql.redaction.options.regex", f"(?i)url|{KAFKA_SECRETS}")
        .getOrCreate()
    )
