"""The views: both engines read the same warehouse alike, and know how long a bar is."""

from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from conf.errors import ConfigurationError
from conf.timeframes import TIMEFRAME_MS
from jobs.scoring.scoreboard import update_scores
from store.schema import TABLES
from store.views import ask_spark, create_spark_views, read_sql
from tests import tables
from tests.tables import bars, predictions, write


def test_every_table_is_a_view_of_the_same_columns_in_both_engines(
    tmp_path: Path, spark: SparkSession
) -> None:
    create_spark_views(spark, str(tmp_path))
    for name, table in TABLES.items():
        by_duckdb = list(read_sql(tmp_path, f"SELECT * FROM {name}"))
        assert by_duckdb[: len(table.columns)] == list(table.columns)
        assert spark.table(name).columns == by_duckdb


def test_a_timeframe_that_is_not_known_is_an_error_that_names_it(
    tmp_path: Path, spark: SparkSession
) -> None:
    write(tmp_path, "bars", bars([100.0, 101.0]).assign(interval="30m"))
    query = "SELECT * FROM scored"
    write(tmp_path, "predictions", predictions([100.0], [101.0]).assign(interval="30m"))
    with pytest.raises(ConfigurationError, match="unknown timeframe 30m"):
        read_sql(tmp_path, query)
    with pytest.raises(ConfigurationError, match="unknown timeframe 30m"):
        update_scores(tmp_path)
    with pytest.raises(ConfigurationError, match="unknown timeframe 30m"):
        ask_spark(spark, str(tmp_path), query, most=1)


def test_a_new_timeframe_is_scored_as_soon_as_its_length_is_known(
    tmp_path: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    half_hours = bars([100.0, 101.0]).assign(interval="30m")
    half_hours["open_time"] = tables.START + pd.to_timedelta([0, 30], unit="min")
    made = predictions([100.0], [101.0]).assign(interval="30m")
    made["as_of"], made["target_time"] = half_hours["open_time"][1], pd.Timestamp(2026, 1, 1, 1)
    write(tmp_path, "bars", half_hours)
    write(tmp_path, "predictions", made)
    monkeypatch.setitem(TIMEFRAME_MS, "30m", 1_800_000)
    query = "SELECT actual_close FROM scored"
    assert list(read_sql(tmp_path, query)["actual_close"]) == [101.0]
    assert ask_spark(spark, str(tmp_path), query, most=9) == (["actual_close"], [(101.0,)])


@pytest.mark.parametrize(("timeframe", "length_ms"), TIMEFRAME_MS.items())
def test_sql_and_python_agree_on_how_long_a_bar_is(
    tmp_path: Path, timeframe: str, length_ms: int
) -> None:
    write(tmp_path, "bars", bars([100.0]).assign(interval=timeframe))
    query = "SELECT epoch_ms(close_time) - epoch_ms(open_time) AS length_ms FROM bars"
    assert list(read_sql(tmp_path, query)["length_ms"]) == [length_ms]
