"""A micro-batch as Parquet: packed tables in, one file a table out, written by one task.

Spark's own writer needs three writes a micro-batch, each with a plan, a job and code to compile,
and takes the rows one by one: with it a replay took 119 us of CPU a bar, with this 66.

The task writes into folders of its own, which readers pass over; the driver renames those that a
task which succeeded has named (`publish`). So a task that is tried again, or goes on after it was
given up, adds nothing.

```
 predictions/_writing-<query>-<task>/part-0.parquet  ->  predictions/batch=<query>-<batch>/
```
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from spark.arrow import map_in_arrow
from store.folders import Folders
from store.schema import STREAM_TABLES
from store.table_folder import file_system, sync_written
from stream.contents import ARTICLES, BARS
from stream.operator_rows import SKIPPED, WITH_NEWS
from stream.packed import PACKED, from_bytes

if TYPE_CHECKING:  # workers import this module, and need nothing that only the driver uses
    from stream.micro_batch import MicroBatch

# What the task says: the folder that it has written for a table.
WRITTEN: Final = pa.schema([("table", pa.string()), ("folder", pa.string())])

# The table that what the operator emits goes to as it is, by kind.
TABLE_OF: Final = {BARS: "bars", SKIPPED: "skipped", ARTICLES: "articles", WITH_NEWS: "sentiment"}


class ParquetTables:
    """A sink: the tables of a folder, exactly once.

    Each has one folder a micro-batch, which the same micro-batch replaces when it comes again.
    """

    def __init__(self, warehouse_dir: str) -> None:
        self._warehouse_dir = warehouse_dir
        self._folders: dict[str, Folders] = {}

    def write(self, batch: "MicroBatch") -> None:
        """Write and publish the micro-batch's folder of each table that has rows."""
        # Spark repeats none but the micro-batch with which a start begins: only then can there be
        # folders of the same name, and folders that a killed start has not finished.
        may_be_repeated = not self._folders
        if may_be_repeated:
            self._open(batch)
        name = f"{batch.query_id}-{batch.batch_id}"
        staged = self._staged(batch)
        for table, folders in self._folders.items():
            if may_be_repeated or table in staged:
                folders.remove(name)
            if table in staged:
                folders.publish(staged[table], name)

    def _open(self, batch: "MicroBatch") -> None:
        spark = batch.forecast.sparkSession
        self._folders = {t: Folders(spark, f"{self._warehouse_dir}/{t}") for t in STREAM_TABLES}
        for folders in self._folders.values():
            folders.discard_all(writing(batch.query_id))

    def _staged(self, batch: "MicroBatch") -> dict[str, str]:
        """The folder that was written for each table, by table."""
        counts = batch.counts  # computes the rows in a task for each shard, before one writes them
        # A wake-up brings no bar, and ends the waits of some that came before: these are predicted.
        rows = counts.bars, counts.predictions, counts.skipped, counts.articles, counts.with_news
        if not any(rows):
            return {}
        addresses = {table: folders.address for table, folders in self._folders.items()}
        written = write_tables(batch.forecast, addresses, batch.query_id).collect()
        return {row["table"]: row["folder"] for row in written}


def writing(query_id: str) -> str:
    """How the names of folders begin that a query has not published: another's are not its own."""
    return f"_writing-{query_id}-"


def write_tables(forecast: DataFrame, addresses: Mapping[str, str], query_id: str) -> DataFrame:
    """`WRITTEN` for each table that `forecast` has rows for; collecting it writes the files.

    `addresses` says where the folder of each table is.
    """
    kept = F.when(F.col("kind").isin(*TABLE_OF), F.col(PACKED)).alias(PACKED)
    rows = forecast.select("kind", kept, "forecast.predicted", "forecast.abstained")
    write = partial(_write_all, dict(addresses), writing(query_id))
    return map_in_arrow(rows.coalesce(1), write, WRITTEN)


def _write_all(
    addresses: dict[str, str], prefix: str, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    found: dict[str, list[pa.Table]] = {}
    for batch in batches:
        for kind, *packed in zip(*batch.columns, strict=True):
            names = TABLE_OF.get(kind.as_py()), "predictions", "skipped"
            for name, value in zip(names, packed, strict=True):
                if name is not None and value.is_valid:
                    found.setdefault(name, []).append(from_bytes(value.as_buffer()))
    for name, pieces in found.items():
        folder = write_rows(pieces, STREAM_TABLES[name].stored, addresses[name], prefix)
        if folder is not None:
            yield pa.RecordBatch.from_pylist([{"table": name, "folder": folder}], WRITTEN)


def write_rows(pieces: list[pa.Table], wanted: pa.Schema, address: str, prefix: str) -> str | None:
    """Write a table's rows into a new folder at `address` that readers pass over.

    Returns the name of the folder, which begins with `prefix`; None where there are no rows.
    """
    rows = pa.concat_tables(as_stored(piece, wanted) for piece in pieces)
    if len(rows) == 0:
        return None
    folder = f"{prefix}{uuid.uuid4().hex}"
    files, path = file_system(address)
    files.create_dir(f"{path}/{folder}", recursive=True)
    # Hardly a price comes twice: looking for it costs more than the rest of the writing.
    texts = [field.name for field in wanted if pa.types.is_string(field.type)]
    file = f"{path}/{folder}/part-0.parquet"
    pq.write_table(rows, file, filesystem=files, use_dictionary=texts)
    sync_written(files, file)
    return folder


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
