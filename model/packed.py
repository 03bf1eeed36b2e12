"""A table as one binary value, in Arrow's stream format: whole columns, never row by row.

Compressed, since a value is copied half a dozen times on its way through Spark's JVM.
"""

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

# Spark runs a worker for each core: none needs threads of its own.
_WRITE: Final = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
_READ: Final = pa.ipc.IpcReadOptions(use_threads=False)


def to_bytes(table: pa.Table | pa.RecordBatch) -> bytes:
    """A table in Arrow's stream format."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_WRITE) as writer:
        writer.write(table)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def from_bytes(packed: bytes | pa.Buffer) -> pa.Table:
    """The table that `to_bytes` wrote."""
    return pa.ipc.open_stream(packed, options=_READ).read_all()


def constant(value: str | float, count: int) -> pa.Array:
    """A column that says the same in every row, and holds it once."""
    return repeated(pa.array([value]), np.zeros(count, np.int8))


def repeated(values: pa.Array | pa.ChunkedArray, places: NDArray[np.signedinteger]) -> pa.Array:
    """A column that says `values[places]`, and holds each value once.

    >>> repeated(pa.array(["a", "b"]), np.array([1, 1, 0])).to_pylist()
    ['b', 'b', 'a']
    """
    held = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return pa.DictionaryArray.from_arrays(pa.array(places), held)
