"""What the stream has written holds the same rows once it is compacted, for every reader."""

import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from conf.errors import CandlecastError
from conf.sections import Registry as RegistrySettings
from conf.sections import Warehouse
from ingest.bar import Bar
from jobs.machine.broker import EmbeddedBroker
from store.compaction import compact_table
from store.folders import Folders
from store.schema import STREAM_TABLES
from store.table_folder import TableFolder
from tests.streams import RunningStream, stream_settings

IDENTITY = ["symbol", "as_of", "horizon"]
ALWAYS = date(2100, 1, 1)


@pytest.fixture(scope="module")
def written(
    spark: SparkSession,
    broker: EmbeddedBroker,
    tmp_path_factory: pytest.TempPathFactory,
    champion_registry: RegistrySettings,
    btc: list[Bar],
) -> RunningStream:
    """A warehouse with three micro-batches around a midnight, 2024-12-01."""
    folder = tmp_path_factory.mktemp("written")
    settings = stream_settings(broker, folder.name, folder, champion_registry)
    stream = RunningStream(spark, settings)
    for part in (btc[:90], btc[90:100], btc[100:]):
        stream.publish(part)
    stream.stop()
    return stream


@pytest.fixture
def filled(written: RunningStream, tmp_path: Path) -> RunningStream:
    """A copy of that warehouse, to be compacted."""
    copy = tmp_path / "warehouse"
    shutil.copytree(written.settings.warehouse.dir, copy)
    settings = written.settings.model_copy(update={"warehouse": Warehouse(dir=str(copy))})
    return RunningStream(written.spark, settings)


def compact(warehouse_dir: str) -> None:
    for table in STREAM_TABLES.values():
        compact_table(TableFolder(warehouse_dir, table), ALWAYS)


def folder_names(stream: RunningStream, table: str) -> set[str]:
    folder = Path(stream.settings.warehouse.dir) / table
    return {path.name.rpartition("-")[0] for path in folder.iterdir()}


@pytest.mark.parametrize("as_address", [False, True])
def test_spark_duckdb_and_pandas_read_the_same_rows(
    spark: SparkSession, filled: RunningStream, as_address: bool
) -> None:
    before = sorted_predictions(filled)
    folder = Path(filled.settings.warehouse.dir)
    compact(folder.as_uri() if as_address else str(folder))
    pd.testing.assert_frame_equal(sorted_predictions(filled), before)
    assert folder_names(filled, "bars") >= {"batch=day-2024-11-30", "batch=day-2024-12-01"}
    assert len(folder_names(filled, "predictions")) == 2
    sums = "count(*) AS n, round(sum(predicted_close), 6) AS total, max(as_of) AS newest"
    of_spark = spark.sql(f"SELECT {sums} FROM parquet.`{folder}/predictions`").collect()[0]
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        query = f"SELECT {sums} FROM read_parquet('{folder}/predictions/batch=*/*.parquet')"
        n, total, newest = connection.execute(query).fetchall()[0]
    of_pandas = filled.table("predictions")
    newest_ms = {
        int(of_spark["newest"].timestamp() * 1000),
        int(newest.timestamp() * 1000),
        int(of_pandas["as_of"].max().timestamp() * 1000),
    }
    assert {of_spark["n"], n, len(of_pandas)} == {n}
    assert round(of_pandas["predicted_close"].sum(), 6) == of_spark["total"] == total
    assert len(newest_ms) == 1
    assert datetime.fromtimestamp(newest_ms.pop() / 1000, UTC).date() == date(2024, 12, 1)


def sorted_predictions(stream: RunningStream) -> pd.DataFrame:
    rows = stream.table("predictions").drop(columns="batch")
    return rows.sort_values(IDENTITY).reset_index(drop=True)


def test_the_stream_goes_on_where_its_folders_are_compacted(
    stream: RunningStream, btc: list[Bar]
) -> None:
    for part in (btc[:90], btc[90:100]):
        stream.publish(part)
    compact(stream.settings.warehouse.dir)
    stream.publish(btc[100:])
    before = sorted_predictions(stream)
    compact(stream.settings.warehouse.dir)
    pd.testing.assert_frame_equal(sorted_predictions(stream), before)
    assert not before.duplicated(IDENTITY).any()


def test_a_folder_of_the_stream_never_goes_into_another(
    spark: SparkSession, tmp_path: Path
) -> None:
    folders = Folders(spark, str(tmp_path))
    for name in ("batch=q-1", "_writing-q-x"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part-0.parquet").touch()
    with pytest.raises(CandlecastError, match="could not become batch=q-1"):
        folders.publish("_writing-q-x", "q-1")
    assert [path.name for path in (tmp_path / "batch=q-1").iterdir()] == ["part-0.parquet"]
    folders.publish("_writing-q-x", "q-2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["batch=q-1", "batch=q-2"]
