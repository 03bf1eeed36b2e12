"""Where a micro-batch goes: Kafka first, since people wait for it, then Parquet.

Parquet is exactly-once: each table has one folder a micro-batch, `batch=<query id>-<batch id>`,
which a repeated micro-batch replaces in one rename. Kafka is at-least-once, and its rows carry
their identity.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pyspark import StorageLevel
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from conf.kafka import Broker, spark_options
from model.champions import Champions, ServedModel
from store.folders import Folders
from store.schema import PREDICTIONS, SENTIMENT, STREAM_TABLES
from stream.contents import REFUSED_SCHEMA
from stream.forecast_udf import FORECAST, forecast_udf
from stream.metrics import WrittenMicroBatch
from stream.operator_rows import REJECTED, TOLD, WINDOWS
from stream.packed import PACKED, unpack
from stream.to_kafka import messages_of
from stream.to_parquet import write_tables, writing

# Kafka's default of 16 kB a request holds some fifty predictions. The end of a task sends what is
# there, so that nobody waits for a batch to fill.
PRODUCER: Final = {"kafka.batch.size": "262144", "kafka.linger.ms": "20"}

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
    _folders: dict[str, Folders] = field(default_factory=dict)

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        """Predict and write.

        1. ask for the champions: one version an interval predicts the whole batch
        2. predictions to Kafka
        3. the Parquet tables; then rejected messages and what the news said, to Kafka
        4. one line to the log, and figures to the metrics
        """
        models = self.champions.current()
        query_id = str(batch.sparkSession.sparkContext.getLocalProperty("sql.streaming.queryId"))
        forecast = with_forecast(batch, models, query_id, batch_id)
        forecast.persist(StorageLevel.MEMORY_AND_DISK)
        try:
            if models:
                self._to_topic(prediction_messages(forecast), self.predictions_topic)
            else:
                forecast.count()  # a task for each shard, before one task writes them all
            written = written_micro_batch(self._to_parquet(forecast, query_id, batch_id), models)
            if written.told:
                self._to_topic(sentiment_messages(forecast), self.sentiment_topic)
            if written.rejected:
                self._to_topic(rejected_messages(forecast), self.rejected_topic)
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

    def _to_topic(self, messages: DataFrame, topic: str) -> None:
        to = {**spark_options(self.broker), **PRODUCER, "topic": topic}
        messages.write.format("kafka").options(**to).save()

    def _to_parquet(self, forecast: DataFrame, query_id: str, batch_id: int) -> list[Row]:
        """Write and publish the micro-batch's folder of each table; `WRITTEN` says of what."""
        may_be_repeated = not self._folders
        if may_be_repeated:
            spark = forecast.sparkSession
            self._folders = {t: Folders(spark, f"{self.warehouse_dir}/{t}") for t in STREAM_TABLES}
            for folders in self._folders.values():
                folders.discard_all(writing(query_id))
        addresses = {table: folders.address for table, folders in self._folders.items()}
        written = write_tables(forecast, addresses, query_id).collect()
        staged = {row["name"]: row["folder"] for row in written if row["folder"]}
        name = f"{query_id}-{batch_id}"
        for table, folders in self._folders.items():
            if may_be_repeated or table in staged:
                folders.remove([name])
            if table in staged:
                folders.publish(staged[table], name)
        return written


def with_forecast(
    batch: DataFrame, models: dict[str, ServedModel], query_id: str, batch_id: int
) -> DataFrame:
    """The operator's rows, those with windows with the struct `forecast`, null for the others."""
    if not models:
        return batch.withColumn("forecast", F.lit(None).cast(FORECAST))
    udf = forecast_udf(models, query_id, batch_id)
    is_windows = F.col("kind").isin(WINDOWS, TOLD)
    timeframe, windows = F.when(is_windows, F.col("label")), F.when(is_windows, F.col(PACKED))
    return batch.withColumn("forecast", udf(timeframe, windows, "bars")).drop("bars")


def written_micro_batch(written: list[Row], models: Mapping[str, ServedModel]) -> WrittenMicroBatch:
    """How many rows there are of each kind, and why bars have no prediction."""
    rows: Counter[str] = Counter()
    for row in written:
        rows[row["name"]] += row["rows"]
    return WrittenMicroBatch(
        bars=rows["bars"],
        predictions=rows["predictions"],
        rejected=rows[REJECTED],
        skipped={row["label"]: row["rows"] for row in written if row["name"] == "skipped"},
        articles=rows["articles"],
        told=rows["sentiment"],
        versions={timeframe: model.artifact.version for timeframe, model in models.items()},
    )


def prediction_messages(forecast: DataFrame) -> DataFrame:
    """What goes to the topic of predictions: the rows of the table."""
    return messages_of(F.col("forecast.predicted"), forecast, PREDICTIONS.packed.names)


def sentiment_messages(forecast: DataFrame) -> DataFrame:
    """What goes to the topic of sentiment: the same rows."""
    told = F.when(F.col("kind") == TOLD, F.col(PACKED))
    return messages_of(told, forecast, SENTIMENT.packed.names)


def rejected_messages(forecast: DataFrame) -> DataFrame:
    """Key and JSON value of messages that break a rule: why, from where, and what they were."""
    rows = unpack(F.when(F.col("kind") == REJECTED, F.col(PACKED)), forecast, REFUSED_SCHEMA)
    value = F.struct(
        "reason", "topic", "partition", "offset", F.base64("payload").alias("value_base64")
    )
    return rows.select(
        F.concat_ws(":", "topic", "partition", "offset").alias("key"),
        F.to_json(value).alias("value"),
    )
