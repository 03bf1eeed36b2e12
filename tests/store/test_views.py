"""The views: both engines read the same warehouse alike, and know how long a bar is."""

from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from conf.errors import ConfigurationError
from conf.timeframes import TIMEFRAME_MS
from store.schema import TABLES
from store.spark_views import ask_spark, create_spark_views
from store.views import read_sql
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


def test_rows_of_a_timeframe_that_is_not_known_are_in_no_view(
    tmp_path: Path, spark: SparkSession
) -> None:
    write(tmp_path, "bars", bars([100.0, 101.0]).assign(interval="7m"), "other")
    write(tmp_path, "bars", bars([100.0, 101.0]), "known")
    query = "SELECT DISTINCT interval FROM bars"
    assert list(read_sql(tmp_path, query)["interval"]) == ["1m"]
    assert ask_spark(spark, str(tmp_path), query, most=9)[1] == [("1m",)]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELEC 1", "SELEC"),
        ("", "empty"),
        ("SELECT nothing FROM bars", "nothing"),
        ("SELECT 1/0", "DIVIDE_BY_ZERO"),
    ],
)
def test_spark_says_in_one_line_why_it_has_no_answer(
    tmp_path: Path, spark: SparkSession, query: str, said: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        ask_spark(spark, str(tmp_path), query, most=9)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def write_long_bars(warehouse: Path, timeframe: str, minutes: int, close: list[float]) -> None:
    """Bars of so many minutes, and from each but the last a prediction of the next close."""
    length = pd.Timedelta(minutes=minutes)
    long = bars(close).assign(interval=timeframe)
    long["open_time"] = [tables.START + n * length for n in range(len(close))]
    made = predictions(close, close[1:]).assign(interval=timeframe)
    made["as_of"] = long["open_time"][: len(made)] + length
    made["target_time"] = made["as_of"] + length
    write(warehouse, "bars", long)
    write(warehouse, "predictions", made)


def test_a_new_timeframe_is_scored_as_soon_as_its_length_is_known(
    tmp_path: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_long_bars(tmp_path, "7m", 7, [100.0, 101.0])
    monkeypatch.setitem(TIMEFRAME_MS, "7m", 420_000)
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
