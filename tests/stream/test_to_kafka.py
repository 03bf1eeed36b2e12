"""A packed table becomes the same messages, however it holds its values."""

import numpy as np
import pyarrow as pa

from stream.packed import constant, from_bytes, repeated, to_bytes
from stream.to_kafka import json_objects


def test_a_value_that_is_held_once_is_written_as_if_it_stood_in_every_row() -> None:
    every_row = pa.table(
        {
            "symbol": ['A"-B', 'A"-B', "C-D"],
            "price": [0.1, float("nan"), 0.1],
            "at": [7, 7, None],
            "version": ["1m-1"] * 3,
        }
    )
    places = np.array([0, 0, 1], np.int32)
    once = pa.table(
        {
            "symbol": repeated(pa.array(['A"-B', "C-D"]), places),
            "price": repeated(pa.array([0.1, float("nan")]), np.array([0, 1, 0], np.int8)),
            "at": repeated(pa.array([7, None]), places),
            "version": constant("1m-1", 3),
        }
    )
    assert json_objects(from_bytes(to_bytes(once))) == json_objects(every_row)
    assert json_objects(once.slice(0, 0)).to_pylist() == []


def test_a_table_that_was_packed_without_compression_is_read_as_well() -> None:
    table = pa.table({"symbol": ["A-B", "C-D"], "close": [1.5, 2.5]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write(table)
    assert from_bytes(sink.getvalue().to_pybytes()) == table


def test_what_every_row_says_is_held_once_and_packed_small() -> None:
    assert constant("1m-2026-11-26T00:00:00Z", 10_000).nbytes < 11_000
    assert len(to_bytes(pa.table({"close": [1.5] * 10_000}))) < 8_000
