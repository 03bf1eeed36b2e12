"""Many rows in one: how bars and predictions cross between Spark's JVM and its Python workers.

A stateful operator in Python is handed its rows one by one, and an array is boxed number by number
on its way back. A table in Arrow's stream format travels as one binary value instead.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql.pandas.types import from_arrow_schema

from model.packed import from_bytes

PACKED: Final = "packed"

ArrowFunction = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def map_in_arrow(rows: DataFrame, function: ArrowFunction, schema: pa.Schema) -> DataFrame:
    """Spark's `mapInArrow`, to rows of `schema`.

    Spark takes the types as a text as well, but reads it with its parser of SQL, which would cost a
    start half a second.
    """
    return rows.mapInArrow(function, from_arrow_schema(schema))


def unpack(packed: Column, rows: DataFrame, schema: pa.Schema) -> DataFrame:
    """The rows, of `schema`, that lie in the binary column `packed`; null holds none."""

    def unpacked(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for table in tables(batches):
            yield from table.to_batches()

    return map_in_arrow(rows.select(packed.alias(PACKED)), unpacked, schema)


def tables(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The tables in the first column of Spark's Arrow batches."""
    for batch in batches:
        for value in batch.column(0):
            if value.is_valid:
                yield from_bytes(value.as_buffer())
