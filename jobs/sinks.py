"""Where a micro-batch goes: Kafka first, since people wait for it, then Parquet.

Parquet is exactly-once: each table has one folder a micro-batch, `batch=<query id>-<batch id>`,
which a repeated micro-batch replaces in one rename. Kafka is at-least-once, and its rows carry
their identity.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from conf.kafka import Broker, spark_options
from jobs.metrics import WrittenMicroBatch
from jobs.read_bars import interval_ms
from jobs.window_operator import BAR, REJECTED, SKIPPED, VALUES, WINDOWS
from model.champions import Champions, ServedModel
from model.serve import forecast_udf

log = logging.getLogger(__name__)

PREDICTION_ARRAYS: Final = ["as_of", "horizon", "last_close", "predicted_close", "lower", "upper"]


@dataclass
class MicroBatchWriter:
    """Writes one micro-batch after the other: what `foreachBatch` calls."""

    broker: Broker
    predictions_topic: str
    rejected_topic: str
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
        batch.persist(StorageLevel.MEMORY_AND_DISK)
        predictions = predict(batch, models, query_id, batch_id)
        predictions.persist(StorageLevel.MEMORY_AND_DISK)
        try:
            if models:
                self._to_topic(prediction_messages(predictions), self.predictions_topic)
            counts, skipped = count_kinds(batch)
            self._write_rest(batch, predictions, f"{query_id}-{batch_id}", counts, bool(models))
            written = WrittenMicroBatch(
                counts.get(BAR, 0),
                predictions.count(),
                counts.get(REJECTED, 0),
                skipped,
                {interval: model.artifact.version for interval, model in models.items()},
            )
            log.info(
                "micro_batch=%d bars=%d skipped=%d rejected=%d predictions=%d model=%s",
                batch_id,
                written.bars,
                counts.get(SKIPPED, 0),
                written.rejected,
                written.predictions,
                ",".join(written.versions.values()) or "none",
            )
            self.on_written(written)
        finally:
            predictions.unpersist()
            batch.unpersist()

    def _write_rest(
        self,
        batch: DataFrame,
        predictions: DataFrame,
        folder: str,
        counts: dict[str, int],
        predicted: bool,
    ) -> None:
        writes: list[Callable[[str], None]] = []
        if counts.get(WINDOWS) and predicted:
            writes.append(partial(self._to_parquet, predictions, "predictions"))
        if counts.get(BAR):
            writes.append(partial(self._to_parquet, bar_rows(batch), "bars"))
        if counts.get(SKIPPED):
            writes.append(partial(self._to_parquet, skipped_rows(batch), "skipped"))
        if counts.get(REJECTED):
            writes.append(lambda _: self._to_topic(rejected_messages(batch), self.rejected_topic))
        for future in [self._pool.submit(write, folder) for write in writes]:
            future.result()

    def _to_topic(self, messages: DataFrame, topic: str) -> None:
        messages.write.format("kafka").options(**spark_options(self.broker), topic=topic).save()

    def _to_parquet(self, rows: DataFrame, table: str, folder: str) -> None:
        (
            rows.withColumn("batch", F.lit(folder))
            .coalesce(1)
            .write.partitionBy("batch")
            .option("partitionOverwriteMode", "dynamic")
            .mode("overwrite")
            .parquet(f"{self.warehouse_dir}/{table}")
        )


def count_kinds(batch: DataFrame) -> tuple[dict[str, int], dict[str, int]]:
    """Rows of each kind, and bars without a prediction by reason."""
    # The reasons of rejected messages quote the messages: far too many to count each.
    reason = F.when(F.col("kind") == SKIPPED, F.col("reason"))
    kinds: dict[str, int] = {}
    skipped: dict[str, int] = {}
    for row in batch.groupBy("kind", reason.alias("reason")).count().collect():
        kinds[row["kind"]] = kinds.get(row["kind"], 0) + row["count"]
        if row["kind"] == SKIPPED:
            skipped[row["reason"]] = row["count"]
    return kinds, skipped


def predict(
    batch: DataFrame, models: dict[str, ServedModel], query_id: str, batch_id: int
) -> DataFrame:
    """A row for each window and horizon, with the columns of the contract."""
    udf = forecast_udf(models)
    forecast = batch.where(F.col("kind") == WINDOWS).select(
        "symbol", "interval", udf("interval", "time", "payload", "ends").alias("forecast")
    )
    arrays = F.arrays_zip(*[f"forecast.{name}" for name in PREDICTION_ARRAYS])
    exploded = forecast.select("symbol", "interval", "forecast", F.explode(arrays).alias("window"))
    return exploded.select(
        "symbol",
        "interval",
        F.timestamp_millis("window.as_of").alias("as_of"),
        F.col("window.horizon"),
        F.timestamp_millis(
            F.col("window.as_of") + F.col("window.horizon") * interval_ms(F.col("interval"))
        ).alias("target_time"),
        *[f"window.{name}" for name in PREDICTION_ARRAYS[2:]],
        "forecast.coverage",
        "forecast.model_version",
        F.lit(query_id).alias("query_id"),
        F.lit(batch_id).cast("long").alias("batch_id"),
        F.timestamp_millis("forecast.predicted_at").alias("predicted_at"),
    )


def bar_rows(batch: DataFrame) -> DataFrame:
    """The table `bars`: every good message as it came."""
    return batch.where(F.col("kind") == BAR).select(
        "symbol",
        "interval",
        F.timestamp_millis("time").alias("open_time"),
        *VALUES,
        "source",
        F.timestamp_millis("fetched_at").alias("fetched_at"),
    )


def skipped_rows(batch: DataFrame) -> DataFrame:
    """The table `skipped`: bars whose window was not complete when they came, and why."""
    return batch.where(F.col("kind") == SKIPPED).select(
        "symbol", "interval", F.timestamp_millis("time").alias("as_of"), "reason"
    )


def prediction_messages(predictions: DataFrame) -> DataFrame:
    """Key and JSON value for the topic; times in epoch ms, as in the topic of the bars."""
    columns = [
        F.unix_millis(name).alias(name) if kind == "timestamp" else F.col(name)
        for name, kind in predictions.dtypes
    ]
    return predictions.select(
        F.col("symbol").alias("key"), F.to_json(F.struct(*columns)).alias("value")
    )


def rejected_messages(batch: DataFrame) -> DataFrame:
    """Key and JSON value of messages that break a rule: why, from where, and what they were."""
    value = F.struct(
        "reason", "topic", "partition", "offset", F.base64("payload").alias("value_base64")
    )
    return batch.where(F.col("kind") == REJECTED).select(
        F.concat_ws(":", "topic", "partition", "offset").alias("key"),
        F.to_json(value).alias("value"),
    )
