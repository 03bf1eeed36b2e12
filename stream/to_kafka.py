"""A packed table as messages for a topic: key, and a JSON object, written column by column."""

import json
from collections.abc import Iterable, Iterator
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame

from spark.arrow import map_in_arrow
from stream.packed import PACKED, tables

MESSAGE: Final = pa.schema([("key", pa.string()), ("value", pa.string())])


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
    for name in table.column_names:
        parts += [f"{',' if parts else '{'}{json.dumps(name)}:", _json_values(table[name])]
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
