"""A micro-batch as Parquet: packed tables in, one file a table out, written by one task.

The task writes into folders of its own, which readers pass over; the driver renames those that a
task which succeeded has named (`publish`). So a task that is tried again, or goes on after it was
given up, adds nothing.

```
 predictions/_writing-<query>-<task>/part-0.parquet  ->  predictions/batch=<query>-<batch>/
```
"""

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from spark.arrow import map_in_arrow
from store.schema import STREAM_TABLES
from stream.contents import ARTICLES, BARS
from stream.operator_rows import REJECTED, SKIPPED, TOLD
from stream.packed import PACKED, from_bytes

# What the task says: so many rows, of that reason where the table has reasons, in that folder; and
# how many messages were rejected, which go to no table.
WRITTEN: Final = pa.schema(
    [
        ("name", pa.string()),
        ("label", pa.string()),
        ("rows", pa.int64()),
        ("folder", pa.string()),
    ]
)

# The table that what the operator emits goes to as it is, by kind.
TABLE_OF: Final = {BARS: "bars", SKIPPED: "skipped", ARTICLES: "articles", TOLD: "sentiment"}

Row = tuple[str, str | None, int, str | None]


def writing(query_id: str) -> str:
    """How the names of folders begin that a query has not published: another's are not its own."""
    return f"_writing-{query_id}-"


def write_tables(forecast: DataFrame, addresses: Mapping[str, str], query_id: str) -> DataFrame:
    """`WRITTEN` for each table that `forecast` has rows for; collecting it writes the files.

    `addresses` says where the folder of each table is.
    """
    kept = F.when(F.col("kind").isin(*TABLE_OF), F.col(PACKED)).alias(PACKED)
    rows = forecast.select("kind", "rows", kept, "forecast.predicted", "forecast.abstained")
    write = partial(_write_all, dict(addresses), writing(query_id))
    return map_in_arrow(rows.coalesce(1), write, WRITTEN)


def _write_all(
    addresses: dict[str, str], prefix: str, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    found: dict[str, list[pa.Table]] = {}
    rejected = 0
    for batch in batches:
        for kind, count, *packed in zip(*batch.columns, strict=True):
            rejected += count.as_py() if kind.as_py() == REJECTED else 0
            names = TABLE_OF.get(kind.as_py()), "predictions", "skipped"
            for name, value in zip(names, packed, strict=True):
                if name is not None and value.is_valid:
                    found.setdefault(name, []).append(from_bytes(value.as_buffer()))
    written: list[Row] = [(REJECTED, None, rejected, None)]
    for name, pieces in found.items():
        written += _write(name, pieces, addresses[name], prefix)
    yield pa.RecordBatch.from_pylist(
        [dict(zip(WRITTEN.names, row, strict=True)) for row in written], WRITTEN
    )


def _write(name: str, pieces: list[pa.Table], address: str, prefix: str) -> Iterator[Row]:
    wanted = STREAM_TABLES[name].stored
    rows = pa.concat_tables(as_stored(piece, wanted) for piece in pieces)
    if len(rows) == 0:
        return
    folder = f"{prefix}{uuid.uuid4().hex}"
    files, path = file_system(address)
    files.create_dir(f"{path}/{folder}", recursive=True)
    # Hardly a price comes twice: looking for it costs more than the rest of the writing.
    texts = [field.name for field in wanted if pa.types.is_string(field.type)]
    file = f"{path}/{folder}/part-0.parquet"
    pq.write_table(rows, file, filesystem=files, use_dictionary=texts)
    if "reason" in wanted.names:
        for reason in pc.value_counts(rows["reason"]).to_pylist():
            yield name, reason["values"], reason["counts"], folder
    else:
        yield name, None, len(rows), folder


def as_stored(rows: pa.Table, wanted: pa.Schema) -> pa.Table:
    """The columns of a packed table that are stored, with their types there.

    >>> wanted = pa.schema([("as_of", pa.timestamp("us", "UTC"))])
    >>> rows = as_stored(pa.table({"end": [7], "as_of": [1_500]}), wanted)
    >>> rows.column_names, str(rows["as_of"][0])
    (['as_of'], '1970-01-01 00:00:01.500000+00:00')
    """
    columns = [
        pc.cast(rows[field.name], pa.timestamp("ms", "UTC"))
        if pa.types.is_timestamp(field.type)
        else rows[field.name]
        for field in wanted
    ]
    return pa.table(columns, names=wanted.names).cast(wanted)


def file_system(address: str) -> tuple[pafs.FileSystem, str]:
    """What writes to an address of Hadoop's, and the path there.

    >>> file_system("file:/data/warehouse/bars")[1]
    '/data/warehouse/bars'
    """
    if address.startswith("file:"):
        return pafs.LocalFileSystem(), re.sub("^file:/+", "/", address)
    # Hadoop and Arrow call S3 by different names.
    found: Any = pafs.FileSystem.from_uri(re.sub("^s3a:", "s3:", address))
    files, path = found
    return files, path
