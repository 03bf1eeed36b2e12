"""The Spark session of the stream."""

import os
from typing import Final

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

from conf.errors import ConfigurationError
from conf.settings import Secrets, Settings

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
        .config(map=_authentication())
        .getOrCreate()
    )


def _authentication() -> dict[str, bool | float | int | str | None]:
    """By what driver, master and executors of a Spark cluster know each other.

    Nothing on one machine, and nothing where `spark.authenticate` was given: then it counts.
    """
    if "PYSPARK_GATEWAY_PORT" not in os.environ:  # not of `spark-submit`: of this machine
        return {}
    SparkContext._ensure_initialized()
    given = SparkConf()
    if not (given.get("spark.master") or "").startswith("spark:") or given.contains(
        "spark.authenticate"
    ):
        return {}
    secret = Secrets().candlecast_spark_secret
    if secret is None or not secret.get_secret_value():
        raise ConfigurationError(
            "CANDLECAST_SPARK_SECRET is not set: by it driver, master and workers of a Spark "
            "cluster know each other (docs/scale.md); where everyone in the network may run what "
            "they like on it, --conf spark.authenticate=false does without"
        )
    return {"spark.authenticate": "true", "spark.authenticate.secret": secret.get_secret_value()}
