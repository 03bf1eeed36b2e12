"""Many rows in one: how bars and predictions cross between Spark's JVM and its Python workers.

A stateful operator in Python is handed its rows one by one, and an array is boxed number by number
on its way back; rows, columns and JSON in the JVM took more than half of a replay's CPU. A table in
Arrow's stream format travels as one binary value instead: compressed, since a value is copied half
a dozen times on its way through the JVM (57 instead of 62 us of CPU a bar).
"""

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame

from spark.arrow import map_in_arrow

PACKED: Final = "packed"

_WIDTH: Final = b"candlecast.columns"
# Spark runs a worker for each core: none needs threads of its own.
_WRITE: Final = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
_READ: Final = pa.ipc.IpcReadOptions(use_threads=False)


def to_bytes(table: pa.Table | pa.RecordBatch) -> bytes:
    """A table in Arrow's stream format."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_WRITE) as writer:
        writer.write(table)
    return bytes(sink.getvalue())


def from_bytes(packed: bytes | pa.Buffer) -> pa.Table:
    """The table that `to_bytes` wrote."""
    return pa.ipc.open_stream(packed, options=_READ).read_all()


def with_width(windows: pa.Table, columns: int) -> pa.Table:
    """Windows with a note of how many columns their bars have, which travel as bare numbers."""
    return windows.replace_schema_metadata({_WIDTH: str(columns)})


def width_of(windows: pa.Table) -> int:
    """What `with_width` noted."""
    return int(windows.schema.metadata[_WIDTH])


def constant(value: str | float | None, count: int) -> pa.Array:
    """A column that says the same in every row, and holds it once; None is a null text."""
    kind = pa.string() if value is None else None
    return repeated(pa.array([value], kind), np.zeros(count, np.int8))


def repeated(values: pa.Array | pa.ChunkedArray, places: NDArray[np.signedinteger]) -> pa.Array:
    """A column that says `values[places]`, and holds each value once.

    >>> repeated(pa.array(["a", "b"]), np.array([1, 1, 0])).to_pylist()
    ['b', 'b', 'a']
    """
    held = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return pa.DictionaryArray.from_arrays(pa.array(places), held)


def unpack(packed: Column, rows: DataFrame, schema: pa.Schema) -> DataFrame:
    """The rows, of `schema`, that lie in the binary column `packed`; null holds none."""

    def unpacked(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for table in tables(batches):
            # A column that holds each value once becomes a plain one, which Spark can read.
            yield from table.cast(schema).to_batches()

    return map_in_arrow(rows.select(packed.alias(PACKED)), unpacked, schema)


def tables(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The tables in the first column of Spark's Arrow batches."""
    for batch in batches:
        for value in batch.column(0):
            if value.is_valid:
                yield from_bytes(value.as_buffer())
