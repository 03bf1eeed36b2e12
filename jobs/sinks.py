"""Where a micro-batch goes: Kafka first, since people wait for it, then Parquet.

Parquet is exactly-once: each table has one folder a micro-batch, `batch=<query id>-<batch id>`,
which a repeated micro-batch replaces in one rename. Kafka is at-least-once, and its rows carry
their identity.
"""

import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from conf.kafka import Broker, spark_options
from jobs.contents import ARTICLES, BARS
from jobs.messages import messages_of
from jobs.metrics import WrittenMicroBatch
from jobs.packed import PACKED, unpack
from jobs.shard_state import VALUES
from jobs.window_operator import REJECTED, SKIPPED, TOLD, WINDOWS
from model.champions import Champions, ServedModel
from model.news import NEWS_COLUMNS
from model.serve import ABSTAINED, FORECAST, NOT_FINITE, PREDICTED, forecast_udf

# A table of fewer rows is one file a micro-batch.
ROWS_A_FILE: Final = 100_000

log = logging.getLogger(__name__)


@dataclass
class MicroBatchWriter:
    """Writes one micro-batch after the other: what `foreachBatch` calls."""

    broker: Broker
    predictions_topic: str
    rejected_topic: str
    sentiment_topic: str
    warehouse_dir: str
    champions: Champions
    on_written: Callable[[WrittenMicroBatch], None] = lambda _: None
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4))

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        """Predict and write.

        1. ask for the champions: one version an interval predicts the whole batch
        2. predictions to Kafka
        3. what is left, side by side: Parquet tables, rejected messages to Kafka
        4. one line to the log, and figures to the metrics
        """
        models = self.champions.current()
        query_id = str(batch.sparkSession.sparkContext.getLocalProperty("sql.streaming.queryId"))
        forecast = with_forecast(batch, models, query_id, batch_id)
        forecast.persist(StorageLevel.MEMORY_AND_DISK)
        try:
            if models:
                self._to_topic(prediction_messages(forecast), self.predictions_topic)
            written = count(forecast, models)
            self._write_rest(forecast, written, f"{query_id}-{batch_id}")
            log.info(
                "micro_batch=%d bars=%d skipped=%d rejected=%d predictions=%d model=%s",
                batch_id,
                written.bars,
                sum(written.skipped.values()),
                written.rejected,
                written.predictions,
                ",".join(written.versions.values()) or "none",
            )
            self.on_written(written)
        finally:
            forecast.unpersist()

    def _write_rest(self, forecast: DataFrame, written: WrittenMicroBatch, folder: str) -> None:
        tables = {
            "predictions": (prediction_rows, written.predictions),
            "bars": (bar_rows, written.bars),
            "skipped": (skipped_rows, sum(written.skipped.values())),
            "articles": (article_rows, written.articles),
            "sentiment": (sentiment_rows, written.told),
        }
        topics = {
            self.sentiment_topic: (sentiment_messages, written.told),
            self.rejected_topic: (rejected_messages, written.rejected),
        }
        writes = [
            self._pool.submit(self._to_parquet, rows(forecast), table, folder, count)
            for table, (rows, count) in tables.items()
            if count
        ]
        writes += [
            self._pool.submit(self._to_topic, messages(forecast), topic)
            for topic, (messages, count) in topics.items()
            if count
        ]
        for write in writes:
            write.result()

    def _to_topic(self, messages: DataFrame, topic: str) -> None:
        messages.write.format("kafka").options(**spark_options(self.broker), topic=topic).save()

    def _to_parquet(self, rows: DataFrame, table: str, folder: str, count: int) -> None:
        measured = [name for name, kind in rows.dtypes if kind == "double"]
        (
            rows.withColumn("batch", F.lit(folder))
            .coalesce(1 + count // ROWS_A_FILE)
            .write.partitionBy("batch")
            .option("partitionOverwriteMode", "dynamic")
            # Hardly a price comes twice: looking for it costs more than the rest of the writing.
            .options(**{f"parquet.enable.dictionary#{name}": "false" for name in measured})
            .mode("overwrite")
            .parquet(f"{self.warehouse_dir}/{table}")
        )


def with_forecast(
    batch: DataFrame, models: dict[str, ServedModel], query_id: str, batch_id: int
) -> DataFrame:
    """The operator's rows, those with windows with the struct `forecast`, null for the others."""
    if not models:
        return batch.withColumn("forecast", F.lit(None).cast(f"struct<{FORECAST}>"))
    udf = forecast_udf(models, query_id, batch_id)
    is_windows = F.col("kind").isin(WINDOWS, TOLD)
    interval, windows = F.when(is_windows, F.col("label")), F.when(is_windows, F.col(PACKED))
    return batch.withColumn("forecast", udf(interval, windows, "bars")).drop("bars")


def count(forecast: DataFrame, models: dict[str, ServedModel]) -> WrittenMicroBatch:
    """How many rows of each kind there are, and why bars have no prediction."""
    kinds: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    predictions = 0
    made = ["forecast.rows", "forecast.abstained_rows"]
    for row in forecast.select("kind", "label", F.col("rows").alias("held"), *made).collect():
        kinds[row["kind"]] += row["held"]
        predictions += row["rows"] or 0
        if row["kind"] == SKIPPED:
            skipped[row["label"]] += row["held"]
        if row["abstained_rows"]:
            skipped[NOT_FINITE] += row["abstained_rows"]
    return WrittenMicroBatch(
        bars=kinds[BARS],
        predictions=predictions,
        rejected=kinds[REJECTED],
        skipped=skipped,
        articles=kinds[ARTICLES],
        told=kinds[TOLD],
        versions={interval: model.artifact.version for interval, model in models.items()},
    )


def prediction_rows(forecast: DataFrame) -> DataFrame:
    """A row for each window and horizon, with the columns of the contract."""
    rows = unpack(F.col("forecast.predicted"), forecast, PREDICTED)
    times = {name: F.timestamp_millis(name) for name in ("as_of", "target_time", "predicted_at")}
    return rows.select(*[times.get(name, F.col(name)).alias(name) for name in rows.columns])


def prediction_messages(forecast: DataFrame) -> DataFrame:
    """What goes to the topic of predictions: the same rows."""
    columns = [column.split()[0] for column in PREDICTED.split(", ")]
    return messages_of(F.col("forecast.predicted"), forecast, columns)


def bar_rows(forecast: DataFrame) -> DataFrame:
    """The table `bars`: every good message as it came."""
    values = ", ".join(f"{name} double" for name in VALUES)
    schema = (
        f"symbol string, interval string, open_time long, {values}, source string, fetched_at long"
    )
    rows = unpack(F.when(F.col("kind") == BARS, F.col(PACKED)), forecast, schema)
    times = {name: F.timestamp_millis(name) for name in ("open_time", "fetched_at")}
    return rows.select(*[times.get(name, F.col(name)).alias(name) for name in rows.columns])


def skipped_rows(forecast: DataFrame) -> DataFrame:
    """The table `skipped`: bars that came and are not predicted from, and why."""
    packed = F.when(F.col("kind") == SKIPPED, F.col(PACKED)).otherwise(F.col("forecast.abstained"))
    rows = unpack(packed, forecast, ABSTAINED)
    return rows.withColumn("as_of", F.timestamp_millis("as_of"))


def article_rows(forecast: DataFrame) -> DataFrame:
    """The table `articles`: every good article as it came, with its score."""
    schema = (
        "provider string, id string, published_at long, available_at long, title string, "
        "source string, url string, coins string, score double, weight double"
    )
    rows = unpack(F.when(F.col("kind") == ARTICLES, F.col(PACKED)), forecast, schema)
    times = {name: F.timestamp_millis(name) for name in ("published_at", "available_at")}
    return rows.select(*[times.get(name, F.col(name)).alias(name) for name in rows.columns])


def sentiment_rows(forecast: DataFrame) -> DataFrame:
    """The table `sentiment`: what the news said in the last bar of each window that has them."""
    values = ", ".join(f"{name} double" for name in NEWS_COLUMNS)
    schema = f"symbol string, as_of long, end long, interval string, open_time long, {values}"
    rows = unpack(F.when(F.col("kind") == TOLD, F.col(PACKED)), forecast, schema)
    open_time = F.timestamp_millis("open_time").alias("open_time")
    return rows.select("symbol", "interval", open_time, *NEWS_COLUMNS)


def sentiment_messages(forecast: DataFrame) -> DataFrame:
    """What goes to the topic of sentiment: the same rows."""
    told = F.when(F.col("kind") == TOLD, F.col(PACKED))
    return messages_of(told, forecast, ["symbol", "interval", "open_time", *NEWS_COLUMNS])


def rejected_messages(forecast: DataFrame) -> DataFrame:
    """Key and JSON value of messages that break a rule: why, from where, and what they were."""
    schema = "reason string, topic string, partition int, offset long, payload binary"
    rows = unpack(F.when(F.col("kind") == REJECTED, F.col(PACKED)), forecast, schema)
    value = F.struct(
        "reason", "topic", "partition", "offset", F.base64("payload").alias("value_base64")
    )
    return rows.select(
        F.concat_ws(":", "topic", "partition", "offset").alias("key"),
        F.to_json(value).alias("value"),
    )
