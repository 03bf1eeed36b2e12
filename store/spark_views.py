"""The views for Spark: the same text over the same files, and the same ones left aside."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from conf.errors import ConfigurationError
from conf.sections import local_folder
from spark.files import exists, literal
from store.files import COMMITTED
from store.footer import File
from store.readable import by_columns
from store.schema import TABLES, Table
from store.views import (
    ATTEMPTS,
    Files,
    files_of,
    leave_damaged_aside,
    view_statements,
    warehouse_folder,
)

# Spark's own name for an error and its text, wherever it stands among causes and Java's stack.
_SPARK_ERROR: Final = re.compile(r"\[[A-Z0-9_.]+\]\s*[^\n]*")
_UNREAD: Final = "FAILED_READ_FILE"


def ask_spark(
    spark: SparkSession, warehouse_dir: str, query: str, most: int
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Names and at most so many rows of a query over the views, by Spark, on any path it knows.

    Raises ConfigurationError where Spark can't answer.
    """
    is_local = local_folder(warehouse_dir) is not None
    known = files_of(warehouse_dir) if is_local else {}
    for attempt in range(ATTEMPTS):
        files = {name: one.all() for name, one in known.items()}
        try:
            create_spark_views(spark, warehouse_dir, files if is_local else None)
            result = spark.sql(query)
            return result.columns, [tuple(row) for row in result.limit(most).collect()]
        except (PySparkException, Py4JJavaError) as error:
            unread = _UNREAD in str(error)
            if attempt < ATTEMPTS - 1 and leave_damaged_aside(known, files, deep=unread):
                continue
            raise ConfigurationError(_reason(error)) from error
    raise AssertionError("the last attempt has returned or raised")


def _reason(error: Exception) -> str:
    """Spark's own name for an error and its text, on one line; or what else the error says."""
    found = _SPARK_ERROR.search(str(error))
    lines = (found[0] if found else str(error)).split("\n")
    return next((line.strip() for line in lines if line.strip()), type(error).__name__)


def create_spark_views(spark: SparkSession, warehouse_dir: str, files: Files | None = None) -> None:
    """Create the views of `sql/views.sql` in a Spark session.

    `files` are those to read of each table of a local warehouse instead of all that can be read.
    """
    if files is None and local_folder(warehouse_dir) is not None:
        files = {name: one.all() for name, one in files_of(warehouse_dir).items()}
    for name, table in TABLES.items():
        if files is None:
            sources = _remote_source(spark, warehouse_dir, table)
        else:
            sources = _local_sources(
                spark, warehouse_folder(warehouse_dir), name, files.get(name, ())
            )
        spark.sql(f"CREATE OR REPLACE TEMP VIEW {name}_raw AS {table.read(sources)}")
    for statement in view_statements():
        spark.sql(statement)


def _local_sources(
    spark: SparkSession, folder: Path, table: str, files: Sequence[File]
) -> list[tuple[str, list[str]]]:
    sources = []
    for number, (columns, paths) in enumerate(by_columns(files)):
        view = f"{table}_files_{number}"
        reader = spark.read.option("basePath", f"{folder}/{table}")
        reader.parquet(*map(literal, paths)).createOrReplaceTempView(view)
        sources.append((view, columns))
    return sources


def _remote_source(
    spark: SparkSession, warehouse_dir: str, table: Table
) -> list[tuple[str, list[str]]]:
    """The files on another file system: Spark passes over those that it can't read."""
    path = f"{literal(warehouse_dir)}/{table.name}"
    if not exists(spark, f"{path}/{COMMITTED}"):
        return []
    options = {"ignoreCorruptFiles": "true", "ignoreMissingFiles": "true"}
    reader = spark.read.options(basePath=f"{warehouse_dir}/{table.name}", **options)
    reader.schema(table.ddl).parquet(path).createOrReplaceTempView(f"{table.name}_files")
    return [(f"{table.name}_files", list(table.columns))]
