"""`candlecast sql`: a Spark SQL query over the warehouse, printed as a table."""

from pathlib import Path
from typing import Annotated, Final

import typer
from pyspark.sql import SparkSession
from rich.console import Console
from rich.table import Table

from conf.errors import ConfigurationError
from conf.settings import load_settings

VIEWS: Final = Path(__file__).parent.parent / "sql" / "views.sql"
TABLES: Final = {
    "bars": ("bars",),
    "predictions": ("predictions",),
    "scored": ("bars", "predictions"),
}


def sql(
    query: Annotated[str, typer.Argument(help="over the views bars, predictions and scored")],
    warehouse: Annotated[str | None, typer.Option(help="instead of the settings' one")] = None,
) -> None:
    """Run a Spark SQL query over the warehouse and print its rows."""
    spark = SparkSession.builder.appName("candlecast-sql").getOrCreate()
    create_views(spark, warehouse or load_settings().warehouse.dir)
    answer = spark.sql(query)
    table = Table(*answer.columns)
    for row in answer.collect():
        table.add_row(*[f"{v:.6g}" if isinstance(v, float) else str(v) for v in row])
    Console().print(table)
    spark.stop()


def create_views(spark: SparkSession, warehouse_dir: str) -> None:
    """Create the views whose tables exist already.

    Raises ConfigurationError where the warehouse holds no table at all.
    """
    statements = [s for s in VIEWS.read_text().split(";\n") if "CREATE" in s]
    absent = [table for table in ("bars", "predictions") if not exists(spark, warehouse_dir, table)]
    if len(absent) == len(TABLES) - 1:
        raise ConfigurationError(
            f"{warehouse_dir} holds no tables yet: run `make demo`, or the stream (setting "
            "warehouse.dir)"
        )
    for statement, (_, needed) in zip(statements, TABLES.items(), strict=True):
        if not set(needed) & set(absent):
            spark.sql(statement.format(warehouse=warehouse_dir))


def exists(spark: SparkSession, warehouse_dir: str, table: str) -> bool:
    """Whether a table has any files, on whatever file system the warehouse is."""
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    path = jvm.org.apache.hadoop.fs.Path(f"{warehouse_dir}/{table}")
    found: bool = path.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()).exists(path)
    return found
