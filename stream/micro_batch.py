"""One micro-batch after the other: its forecasts are made once, and every sink writes them.

A micro-batch that fails, or whose end Spark could not note, is written again, with the same ids.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from conf.events import event
from model.served import Models
from stream.contents import ARTICLES, BARS, REJECTED
from stream.forecast_udf import FORECAST, NOT_FINITE, forecast_udf
from stream.metrics import WrittenMicroBatch
from stream.operator import want_leaders
from stream.operator_rows import SKIPPED, WAITED, WAITS, WINDOWS, WITH_NEWS
from stream.packed import PACKED

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MicroBatch:
    """What is to be written.

    forecast: the operator's rows (`OUTPUT`), with the struct `forecast` (`FORECAST`) in rows of
    windows. `unpack(F.col("forecast.predicted"), forecast, PREDICTIONS.packed)` has the
    predictions, a row each.
    """

    forecast: DataFrame
    query_id: str
    batch_id: int
    models: Models

    @cached_property
    def counts(self) -> WrittenMicroBatch:
        """How many rows there are of each kind, and why bars have no prediction.

        The first call computes the rows, unless a sink has done so before.
        """
        rows: Counter[str] = Counter()
        skipped: Counter[str] = Counter()
        waited: Counter[str] = Counter()
        waiting: dict[int, int] = {}
        wait_until = 0
        columns = "kind", "label", "rows", "forecast.rows", "forecast.abstained_rows"
        for kind, label, count, predicted, abstained in self.forecast.select(*columns).collect():
            rows[kind] += count
            rows["predictions"] += predicted or 0
            skipped[NOT_FINITE] += abstained or 0
            if kind == SKIPPED:
                skipped[label] += count
            elif kind == WAITED:
                waited[label] += count
            elif kind == WAITS:
                shard, until = map(int, label.split())
                waiting[shard], wait_until = count, max(wait_until, until)
        return WrittenMicroBatch(
            bars=rows[BARS],
            predictions=rows["predictions"],
            rejected=rows[REJECTED],
            skipped=+skipped,
            articles=rows[ARTICLES],
            with_news=rows[WITH_NEWS],
            waiting=waiting,
            wait_until=wait_until,
            waited=waited,
            versions={name: model.artifact.version for name, model in self.models.items()},
        )


class Sink(Protocol):
    """A place that micro-batches are written to, one after the other.

    A micro-batch may come twice, with the same `query_id` and `batch_id`: either the second time
    replaces the first, or the rows carry an identity by which a reader finds the double.
    """

    def write(self, batch: MicroBatch) -> None:
        """Called once a micro-batch, after the sinks before it; an error ends the query."""


@dataclass(frozen=True)
class MicroBatchWriter:
    """What Spark's `foreachBatch` calls: predicts, and writes to the sinks in their order."""

    sinks: Sequence[Sink]
    models: Callable[[int], Models]
    on_written: Callable[[WrittenMicroBatch], None]

    def __call__(self, rows: DataFrame, batch_id: int) -> None:
        """Predict with the models of this micro-batch, one version a timeframe, and write."""
        models = self.models(batch_id)
        context = rows.sparkSession.sparkContext
        want_leaders(context, (name for name, model in models.items() if model.reads_leaders))
        query_id = str(context.getLocalProperty("sql.streaming.queryId"))
        forecast = with_forecast(rows, models, query_id, batch_id)
        forecast.persist(StorageLevel.MEMORY_AND_DISK)
        batch = MicroBatch(forecast, query_id, batch_id, models)
        try:
            for sink in self.sinks:
                sink.write(batch)
            written = batch.counts
        finally:
            forecast.unpersist()
        event(
            log,
            "micro_batch",
            micro_batch=batch_id,
            bars=written.bars,
            skipped=sum(written.skipped.values()),
            rejected=written.rejected,
            predictions=written.predictions,
            waiting=sum(written.waiting.values()),
            model=",".join(written.versions.values()) or "none",
        )
        self.on_written(written)


def with_forecast(rows: DataFrame, models: Models, query_id: str, batch_id: int) -> DataFrame:
    """The operator's rows, those with windows with the struct `forecast`, null for the others."""
    if not models:
        return rows.withColumn("forecast", F.lit(None).cast(FORECAST))
    udf = forecast_udf(models, query_id, batch_id)
    is_windows = F.col("kind").isin(WINDOWS, WITH_NEWS)
    timeframe, windows = F.when(is_windows, F.col("label")), F.when(is_windows, F.col(PACKED))
    return rows.withColumn("forecast", udf(timeframe, windows, "bars")).drop("bars")
