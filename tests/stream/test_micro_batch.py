"""A micro-batch is in Parquet once, however often it was written."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructField, StructType

from conf.sections import Warehouse
from conf.settings import Settings
from ingest.bar import ADDED_IN_2
from model.series import VALUES
from model.served import ServedModel
from store.schema import PREDICTIONS
from stream.contents import BARS
from stream.forecast_udf import FORECAST
from stream.metrics import WrittenMicroBatch
from stream.micro_batch import MicroBatch, MicroBatchWriter
from stream.operator_rows import OUTPUT, SKIPPED, WINDOWS, Row, row
from stream.packed import to_bytes
from stream.query import all_sinks
from stream.to_parquet import ParquetTables

MINUTE_MS = 60_000


def no_champion(_batch_id: int) -> dict[str, ServedModel]:
    """Nothing is predicted, so that nothing goes to a topic."""
    return {}


def bars(*symbols: str) -> Row:
    count = len(symbols)
    columns: dict[str, Any] = {"symbol": symbols, "interval": ["1m"] * count}
    columns |= {"open_time": [MINUTE_MS] * len(symbols)}
    columns |= {name: [1.5] * len(symbols) for name in VALUES}
    columns |= {"source": ["test"] * len(symbols), "fetched_at": [2 * MINUTE_MS] * len(symbols)}
    columns |= dict.fromkeys(ADDED_IN_2, [1.0] * len(symbols)) | {"trades": [1] * len(symbols)}
    return row(BARS, pa.table(columns))


def skipped(reason: str, *symbols: str) -> Row:
    count = len(symbols)
    columns = {"symbol": symbols, "interval": ["1m"] * count, "as_of": [MINUTE_MS] * count}
    return row(SKIPPED, pa.table({**columns, "reason": [reason] * count}), reason)


class Sinks:
    """The stream's sinks over a folder, as each start makes them anew."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.spark, self.folder = spark, folder
        self.written: list[WrittenMicroBatch] = []

    def start(self) -> MicroBatchWriter:
        settings = Settings(warehouse=Warehouse(dir=str(self.folder)))
        return MicroBatchWriter(all_sinks(settings), no_champion, self.written.append)

    def micro_batch(self, *rows: Row) -> DataFrame:
        """Two shards: the rows in two partitions."""
        return self.spark.createDataFrame(list(rows), OUTPUT).repartition(2)

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.folder / name).sort_values("symbol", ignore_index=True)


@pytest.fixture
def sinks(spark: SparkSession, tmp_path: Path) -> Sinks:
    return Sinks(spark, tmp_path / "warehouse")


def test_a_micro_batch_is_one_file_a_table_whatever_the_shards(sinks: Sinks) -> None:
    sinks.start()(sinks.micro_batch(bars("A", "B"), bars("C"), skipped("gap", "C")), 0)
    files = sorted(str(file.relative_to(sinks.folder)) for file in sinks.folder.rglob("*.parquet"))
    assert files == ["bars/batch=None-0/part-0.parquet", "skipped/batch=None-0/part-0.parquet"]
    assert sinks.table("bars")["symbol"].tolist() == ["A", "B", "C"]
    assert sinks.written == [
        WrittenMicroBatch(bars=3, predictions=0, rejected=0, skipped={"gap": 1})
    ]


def test_a_repeated_micro_batch_replaces_what_was_there_also_by_nothing(sinks: Sinks) -> None:
    before = sinks.start()
    before(sinks.micro_batch(bars("A")), 0)
    before(sinks.micro_batch(bars("B", "C"), skipped("gap", "C")), 1)
    sinks.start()(sinks.micro_batch(bars("B")), 1)
    assert sinks.table("bars")["symbol"].tolist() == ["A", "B"]
    assert list((sinks.folder / "skipped").iterdir()) == []


def test_what_a_killed_start_left_unfinished_is_never_read_and_removed_by_the_next(
    sinks: Sinks,
) -> None:
    left, of_another = (sinks.folder / "bars" / f"_writing-{q}-1" for q in ("None", "other"))
    for folder in (left, of_another):
        folder.mkdir(parents=True)
        (folder / "part-0.parquet").write_bytes(b"PAR1 and no more")
    sinks.start()(sinks.micro_batch(bars("A")), 0)
    assert sinks.table("bars")["symbol"].tolist() == ["A"]
    assert (left.exists(), of_another.exists()) == (False, True)


def test_times_are_stored_as_instants_and_prices_without_a_dictionary(sinks: Sinks) -> None:
    sinks.start()(sinks.micro_batch(bars("A")), 0)
    assert sinks.table("bars")["open_time"][0] == pd.Timestamp(MINUTE_MS, unit="ms", tz="UTC")
    file = pq.ParquetFile(sinks.folder / "bars" / "batch=None-0" / "part-0.parquet")
    columns = [file.metadata.row_group(0).column(i) for i in range(file.metadata.num_columns)]
    coded = {c.path_in_schema for c in columns if c.has_dictionary_page}
    assert coded == {"symbol", "interval", "source"}


def test_predictions_of_bars_that_came_before_are_stored_where_no_bar_comes(sinks: Sinks) -> None:
    one = {field.name: pa.array(["1"]).cast(field.type) for field in PREDICTIONS.packed}
    columns = StructType([*OUTPUT.fields[:4], StructField("forecast", FORECAST)])
    rows = [(WINDOWS, "1m", 1, None, (1, to_bytes(pa.table(one)), 0, None))]
    forecast = sinks.spark.createDataFrame(rows, columns)
    ParquetTables(str(sinks.folder)).write(MicroBatch(forecast, "query", 1, {}))
    assert len(sinks.table("predictions")) == 1
