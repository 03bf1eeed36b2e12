"""Many rows in one: how bars and predictions cross between Spark's JVM and its Python workers.

A stateful operator in Python is handed its rows one by one, and an array is boxed number by number
on its way back. A batch in Arrow's stream format travels as one binary value instead and is read
where it lies.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame

from model.packed import from_bytes, to_bytes

PACKED: Final = "packed"


def pack(rows: DataFrame, by: str, change: Callable[[pa.RecordBatch], pa.RecordBatch]) -> DataFrame:
    """Put the rows that share a value of the int column `by` into one: (by, packed).

    `change` is applied to each of Spark's Arrow batches first. A value may have several rows, one
    for each batch.
    """

    def packed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in map(change, batches):
            keys = batch.column(by).to_numpy()
            order = np.argsort(keys, kind="stable")
            ordered = batch.take(pa.array(order))
            firsts = np.flatnonzero(np.diff(keys[order], prepend=np.iinfo(np.int32).min))
            lengths = np.diff(np.append(firsts, len(keys)))
            groups = [ordered.slice(*at) for at in zip(firsts, lengths, strict=True)]
            yield pa.RecordBatch.from_arrays(
                [
                    pa.array(keys[order][firsts], pa.int32()),
                    pa.array([to_bytes(group) for group in groups], pa.binary()),
                ],
                names=[by, PACKED],
            )

    return rows.mapInArrow(packed, f"{by} int, {PACKED} binary")


def unpack(packed: Column, rows: DataFrame, schema: str) -> DataFrame:
    """The rows, of `schema`, that lie in the binary column `packed`; null holds none."""

    def unpacked(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for value in batch.column(0):
                if value.is_valid:
                    yield from from_bytes(value.as_buffer()).to_batches()

    return rows.select(packed.alias(PACKED)).mapInArrow(unpacked, schema)
