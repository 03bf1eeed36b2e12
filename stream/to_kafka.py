"""A micro-batch as messages for a topic: key, and a JSON object, written column by column.

At least once: a micro-batch that is written again sends the same messages again, and each carries
its identity.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from conf.kafka import Broker, spark_options
from conf.sections import Kafka
from spark.arrow import map_in_arrow
from store.schema import PREDICTIONS, SENTIMENT
from stream.contents import REJECTED, REJECTED_SCHEMA
from stream.operator_rows import WITH_NEWS
from stream.packed import PACKED, tables, unpack

if TYPE_CHECKING:  # workers import this module, and need nothing that only the driver uses
    from stream.micro_batch import MicroBatch, Sink

MESSAGE: Final = pa.schema([("key", pa.string()), ("value", pa.string())])
# Kafka's default of 16 kB a request holds some fifty predictions: with it a replay made 20,700 bars
# a second, with this 22,100 (means of three, in turn). The end of a task sends what is there,
# so that nobody waits for a batch to fill.
PRODUCER: Final = {"kafka.batch.size": "262144", "kafka.linger.ms": "20"}


@dataclass(frozen=True)
class Topic:
    """A sink: messages of one kind.

    has_messages: whether a micro-batch has any; messages: `MESSAGE` of it.
    """

    broker: Broker
    name: str
    has_messages: Callable[["MicroBatch"], bool]
    messages: Callable[[DataFrame], DataFrame]

    def write(self, batch: "MicroBatch") -> None:
        """Send the messages, and return once all are acknowledged."""
        if self.has_messages(batch):
            to = {**spark_options(self.broker), **PRODUCER, "topic": self.name}
            self.messages(batch.forecast).write.format("kafka").options(**to).save()


def predictions_topic(kafka: Kafka) -> "Sink":
    """The topic of predictions; it is not asked how many there are, since people wait for them."""

    def messages(forecast: DataFrame) -> DataFrame:
        return messages_of(F.col("forecast.predicted"), forecast, PREDICTIONS.packed.names)

    return Topic(kafka, kafka.predictions_topic, lambda b: bool(b.models), messages)


def sentiment_topic(kafka: Kafka) -> "Sink":
    """The topic of what the news said of each bar."""

    def messages(forecast: DataFrame) -> DataFrame:
        with_news = F.when(F.col("kind") == WITH_NEWS, F.col(PACKED))
        return messages_of(with_news, forecast, SENTIMENT.packed.names)

    return Topic(kafka, kafka.sentiment_topic, lambda b: b.counts.with_news > 0, messages)


def rejected_topic(kafka: Kafka) -> "Sink":
    """The topic of rejected messages."""
    return Topic(kafka, kafka.rejected_topic, lambda b: b.counts.rejected > 0, rejected_messages)


def rejected_messages(forecast: DataFrame) -> DataFrame:
    """Why a message was rejected, from where it is, and what it was."""
    rows = unpack(F.when(F.col("kind") == REJECTED, F.col(PACKED)), forecast, REJECTED_SCHEMA)
    value = F.struct(
        "reason", "topic", "partition", "offset", F.base64("payload").alias("value_base64")
    )
    return rows.select(
        F.concat_ws(":", "topic", "partition", "offset").alias("key"),
        F.to_json(value).alias("value"),
    )


def messages_of(packed: Column, rows: DataFrame, columns: Iterable[str]) -> DataFrame:
    """`MESSAGE` for each row of the tables in `packed`: its symbol, and `columns` as JSON.

    Times stay epoch ms, as in the topic of the bars.
    """
    names = list(columns)

    def written(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for table in tables(batches):
            values = json_objects(table.select(names))
            key = pc.cast(table["symbol"], pa.string())
            yield from pa.table([key, values], schema=MESSAGE).to_batches()

    return map_in_arrow(rows.select(packed.alias(PACKED)), written, MESSAGE)


def json_objects(table: pa.Table) -> pa.ChunkedArray:
    """Each row as a JSON object; what is missing or not finite is null.

    >>> table = pa.table({"symbol": ['A"B'], "price": [0.5], "low": [float("nan")], "at": [None]})
    >>> json_objects(table).to_pylist()
    ['{"symbol":"A\\\\"B","price":0.5,"low":null,"at":null}']
    """
    parts: list[object] = []
    written: list[tuple[pa.ChunkedArray, pa.Array]] = []
    for name in table.column_names:
        column = table[name]
        # The ends of an interval are quantiles, too: what is written is not written again.
        values = next((done for other, done in written if other.equals(column)), None)
        if values is None:
            values = _json_values(column)
            written.append((column, values))
        parts += [f"{',' if parts else '{'}{json.dumps(name)}:", values]
    return pc.binary_join_element_wise(*parts, "}", "")


def _json_values(column: pa.ChunkedArray) -> pa.Array:
    """Each value as JSON; one that comes many times is written once."""
    if pa.types.is_dictionary(column.type):
        held = column.combine_chunks()
        written = _json_values(pa.chunked_array([held.dictionary])).take(held.indices)
    elif pa.types.is_string(column.type):
        coded = column.combine_chunks().dictionary_encode()
        texts = [json.dumps(text) for text in coded.dictionary.to_pylist()]
        written = pa.array(texts, pa.string()).take(coded.indices)
    else:
        written = pc.cast(column, pa.string())
        if pa.types.is_floating(column.type):
            written = pc.if_else(pc.is_finite(column), written, None)
    return pc.fill_null(written, "null")
