"""How a table lies in a local warehouse: `TABLE/batch=NAME/*.parquet`, files that are complete.

A folder is one micro-batch, one compacted day, or what one run of `candlecast score` keeps up to
date. What is still being written has a name that begins with an underscore or a dot.
"""

import logging
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from conf.errors import ConfigurationError
from conf.events import event
from conf.state_files import sync_file, sync_folder
from store.schema import TIME, Table

log = logging.getLogger(__name__)

BATCH: Final = "batch="
COMMITTED: Final = f"{BATCH}*/*.parquet"


def not_listed(folder: Path | str, error: OSError) -> ConfigurationError:
    """What says that a table's folder is there and can't be looked into: that is no empty table."""
    return ConfigurationError(
        f"warehouse.dir: {folder} has to be a folder that this program may read: "
        f"{error.strerror or error}"
    )


def committed(warehouse_dir: Path, table: str) -> list[str]:
    """The pattern of a table's files; nothing while there are none."""
    pattern = warehouse_dir / table / COMMITTED
    return [str(pattern)] if any(warehouse_dir.glob(f"{table}/{COMMITTED}")) else []


def replace_rows(warehouse_dir: Path, table: Table, batch: str, rows: pd.DataFrame) -> None:
    """Let a folder of a table hold `rows` and nothing else, in one step for whoever reads it."""
    _write(_file(warehouse_dir, table, batch), _stored(table, rows))


def append_rows(warehouse_dir: Path, table: Table, batch: str, rows: pd.DataFrame) -> None:
    """Add rows to those in a folder of a table, in one step for whoever reads it.

    A file that can't be read is replaced, which the log says: no reader had anything of it.
    """
    file, stored = _file(warehouse_dir, table, batch), _stored(table, rows)
    if file.exists():
        try:
            with pq.ParquetFile(file) as before:
                held = before.read(stored.column_names)
            both = pa.concat_tables([stored, held], promote_options="default")
            stored = both.cast(stored.schema)
        except (pa.ArrowException, OSError, ValueError) as error:
            event(log, "file_replaced", level=logging.WARNING, file=file, reason=error)
    _write(file, stored)


def _file(warehouse_dir: Path, table: Table, batch: str) -> Path:
    return warehouse_dir / table.name / f"{BATCH}{batch}" / "part-0.parquet"


def _stored(table: Table, rows: pd.DataFrame) -> pa.Table:
    # UTC without a zone in every file: Spark can't read both kinds in one table.
    columns = table.columns.items()
    schema = pa.schema([(n, pa.timestamp("us") if kind == TIME else kind) for n, kind in columns])
    stored = pa.Table.from_pandas(rows, schema=table.stored, preserve_index=False)
    return stored.cast(schema)


def _write(file: Path, rows: pa.Table) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    staging = file.with_name(".part-0.staging")
    pq.write_table(rows, staging, compression="zstd")
    sync_file(staging)
    staging.replace(file)
    sync_folder(file.parent)
