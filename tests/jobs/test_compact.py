"""Compaction changes how rows lie, and never which rows there are."""

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from conf.settings import Registry as RegistrySettings
from conf.settings import Warehouse
from ingest.bar import Bar
from jobs.compact import compact
from jobs.machine.broker import EmbeddedBroker
from store.folders import Folders
from tests.streams import RunningStream, stream_settings

IDENTITY = ["symbol", "as_of", "horizon"]
WHOLE_STAGES = "spark.sql.codegen.wholeStage"


@pytest.fixture(autouse=True)
def _as_compaction_sets_its_session(spark: SparkSession, written: RunningStream) -> Iterator[None]:
    """The session of the tests is the stream's."""
    of_stream = spark.conf.get(WHOLE_STAGES)
    spark.conf.set(WHOLE_STAGES, "true")
    yield
    spark.conf.set(WHOLE_STAGES, of_stream)


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


def predictions(stream: RunningStream) -> pd.DataFrame:
    rows = stream.table("predictions").drop(columns="batch")
    return rows.sort_values(IDENTITY).reset_index(drop=True)


def folder_names(stream: RunningStream, table: str) -> list[str]:
    folder = Path(stream.settings.warehouse.dir) / table
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


@pytest.mark.parametrize("spelled", [str, Path.as_uri])
def test_a_compacted_table_holds_the_same_rows_in_one_file_a_day(
    spark: SparkSession, filled: RunningStream, spelled: Callable[[Path], str]
) -> None:
    before = predictions(filled)
    compact(spark, spelled(Path(filled.settings.warehouse.dir)), closed_before=date(2025, 1, 1))
    pd.testing.assert_frame_equal(predictions(filled), before)
    assert folder_names(filled, "predictions") == ["batch=day-2024-12-01-0"]
    assert folder_names(filled, "bars") == ["batch=day-2024-11-30-0", "batch=day-2024-12-01-0"]


def test_a_folder_with_a_row_of_an_open_day_is_left_alone(
    spark: SparkSession, filled: RunningStream
) -> None:
    before = folder_names(filled, "bars")
    assert compact(spark, filled.settings.warehouse.dir, closed_before=date(2024, 12, 1)) == []
    assert folder_names(filled, "bars") == before


def test_rows_of_a_day_that_was_compacted_before_are_merged_into_it(
    spark: SparkSession, stream: RunningStream, btc: list[Bar]
) -> None:
    stream.publish(btc[:100])
    compact(spark, stream.settings.warehouse.dir, closed_before=date(2025, 1, 1))
    stream.publish(btc[100:])
    before = predictions(stream)
    compact(spark, stream.settings.warehouse.dir, closed_before=date(2025, 1, 1))
    pd.testing.assert_frame_equal(predictions(stream), before)
    assert folder_names(stream, "predictions") == ["batch=day-2024-12-01-1"]


def test_what_a_run_that_died_left_twice_is_merged_by_the_next(
    spark: SparkSession, filled: RunningStream
) -> None:
    before = predictions(filled)
    compact(spark, filled.settings.warehouse.dir, closed_before=date(2025, 1, 1))
    folder = Path(filled.settings.warehouse.dir) / "predictions"
    spark.read.parquet(str(folder / "batch=day-2024-12-01-0")).write.parquet(
        str(folder / "batch=day-2024-12-01-1")
    )
    compact(spark, filled.settings.warehouse.dir, closed_before=date(2025, 1, 1))
    pd.testing.assert_frame_equal(predictions(filled), before)


def test_days_that_are_too_old_are_dropped(spark: SparkSession, filled: RunningStream) -> None:
    kept = date(2024, 12, 1)
    compact(spark, filled.settings.warehouse.dir, date(2025, 1, 1), keep_from=kept)
    assert folder_names(filled, "bars") == ["batch=day-2024-12-01-0"]


def test_spark_duckdb_and_pandas_read_the_same_rows(
    spark: SparkSession, filled: RunningStream
) -> None:
    compact(spark, filled.settings.warehouse.dir, closed_before=date(2025, 1, 1))
    folder = f"{filled.settings.warehouse.dir}/predictions"
    sums = "count(*) AS n, round(sum(predicted_close), 6) AS total, max(as_of) AS newest"
    of_spark = spark.sql(f"SELECT {sums} FROM parquet.`{folder}`").collect()[0]
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        query = f"SELECT {sums} FROM read_parquet('{folder}/batch=*/*.parquet')"
        n, total, newest = connection.execute(query).fetchall()[0]
    of_pandas = pd.read_parquet(folder)
    newest_ms = {
        int(of_spark["newest"].timestamp() * 1000),
        int(newest.timestamp() * 1000),
        int(of_pandas["as_of"].max().timestamp() * 1000),
    }
    assert {of_spark["n"], n, len(of_pandas)} == {n}
    assert round(of_pandas["predicted_close"].sum(), 6) == of_spark["total"] == total
    assert len(newest_ms) == 1
    assert datetime.fromtimestamp(newest_ms.pop() / 1000, UTC).date() == date(2024, 12, 1)


def test_an_empty_warehouse_compacts_to_nothing(spark: SparkSession, tmp_path: Path) -> None:
    assert compact(spark, str(tmp_path), closed_before=date(2025, 1, 1)) == []
    assert Folders(spark, str(tmp_path / "bars")).names() == []
