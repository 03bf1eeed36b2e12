"""A table as one binary value, in Arrow's stream format: read where it lies, never row by row."""

import pyarrow as pa


def to_bytes(table: pa.Table | pa.RecordBatch) -> bytes:
    """A table in Arrow's stream format."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write(table)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def from_bytes(packed: bytes | pa.Buffer) -> pa.Table:
    """The table that `to_bytes` wrote."""
    return pa.ipc.open_stream(packed).read_all()


def constant(value: str | float, count: int) -> pa.Array:
    """A column that says the same in every row."""
    return pa.repeat(pa.scalar(value), count)
