"""What can't be read is named and left aside; everything else is answered for, by both engines."""

import errno
import logging
import os
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from conf.errors import ConfigurationError
from jobs.scoring.scoreboard import update_scores
from store.files import append_rows
from store.readable import table_files
from store.schema import ARIMA, BARS
from store.spark_views import ask_spark
from store.table_folder import TableFolder
from store.views import ask, files_of, read_sql
from tests.store import hostile
from tests.tables import START, bars, predictions, read_board, write

COUNTS = "SELECT symbol, CAST(count(close) AS INT) AS n FROM bars GROUP BY symbol ORDER BY symbol"


def counts(warehouse: Path) -> list[tuple[str, int]]:
    return [tuple(row) for row in read_sql(warehouse, COUNTS).itertuples(index=False)]


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    hostile.good(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", hostile.BAD_FILES)
def test_a_bad_file_is_named_once_and_costs_itself_alone(
    warehouse: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = hostile.add_bad_file(warehouse, kind)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert counts(warehouse) == [("BTC-USD", 4)]
    named = [r.getMessage() for r in caplog.records if "file_left_aside" in r.getMessage()]
    assert len(named) == 1
    assert str(file) in named[0]
    assert list(files_of(warehouse)["bars"].left_aside()) == [str(file)]


@pytest.mark.parametrize("place", ["bars", "."])
def test_a_folder_that_is_none_is_named_and_no_empty_table(tmp_path: Path, place: str) -> None:
    warehouse = tmp_path / "warehouse"
    assert counts(warehouse) == []
    (warehouse / place).parent.mkdir(exist_ok=True)
    (warehouse / place).write_text("a file")
    told = rf"warehouse\.dir: {warehouse}/bars has to be a folder .*Not a directory$"
    with pytest.raises(ConfigurationError, match=told):
        counts(warehouse)


def test_compaction_takes_no_file_for_an_empty_table(tmp_path: Path) -> None:
    assert TableFolder(str(tmp_path), BARS).sizes() == {}
    (tmp_path / "bars").write_text("a file")
    with pytest.raises(ConfigurationError, match=r"warehouse\.dir: .*/bars has to be a folder"):
        TableFolder(str(tmp_path), BARS).sizes()


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE, errno.ENOENT])
def test_only_a_folder_that_is_not_there_is_an_empty_table(
    warehouse: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scandir(path: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("store.readable.os.scandir", scandir)
    if number == errno.ENOENT:
        assert table_files(warehouse, ARIMA).all() == []
    else:
        with pytest.raises(ConfigurationError, match=os.strerror(number)):
            table_files(warehouse, ARIMA).all()


@pytest.mark.parametrize("column", ["symbol", "open_time", "close", "quote_volume"])
def test_damage_that_shows_only_while_reading_is_found_and_left_aside(
    warehouse: Path, column: str
) -> None:
    file = hostile.add_damaged_pages(warehouse, column)
    assert ("BTC-USD", 4) in counts(warehouse)
    assert len(read_sql(warehouse, "SELECT * FROM bars")) == 4
    assert list(files_of(warehouse)["bars"].left_aside()) == [str(file)]


@pytest.mark.parametrize("kind", hostile.ABSURD_ROWS)
def test_a_row_that_breaks_a_rule_is_in_no_view_and_named_where_its_file_tells(
    warehouse: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    hostile.add_absurd_rows(warehouse, kind)
    with caplog.at_level(logging.WARNING):
        assert counts(warehouse) == [("BTC-USD", 4), ("ODD-USD", 1)]
    said = any("rows_left_out" in r.getMessage() for r in caplog.records)
    assert said != (kind == "price NaN")  # of which a footer says nothing
    update_scores(warehouse)
    assert set(read_board(warehouse)["symbol"]) == {"BTC-USD"}


def test_spark_leaves_the_same_aside(warehouse: Path, spark: SparkSession) -> None:
    for kind in hostile.BAD_FILES:
        hostile.add_bad_file(warehouse, kind)
    hostile.add_absurd_rows(warehouse, "the year 50000")
    hostile.add_damaged_pages(warehouse, "close")
    _, rows = ask_spark(spark, str(warehouse), COUNTS, most=9)
    assert rows == counts(warehouse)
    assert rows[-2:] == [("BTC-USD", 4), ("ODD-USD", 1)]


@pytest.mark.parametrize("column", ["source", "quote_volume", "trades"])
def test_a_column_that_older_files_lack_is_null_in_their_rows(
    warehouse: Path, column: str, spark: SparkSession
) -> None:
    hostile.before_there_was(column, warehouse, "bars", bars([7.0, 8.0], symbol="OLD-USD"))
    write(warehouse, "bars", bars([9.0], symbol="NEW-USD").assign(more=1), "newer")
    query = f"SELECT symbol, count({column}) AS n FROM bars GROUP BY symbol ORDER BY symbol"
    expected = [("BTC-USD", 4), ("NEW-USD", 1), ("OLD-USD", 0)]
    assert [tuple(row) for row in read_sql(warehouse, query).itertuples(index=False)] == expected
    assert ask_spark(spark, str(warehouse), query, most=9)[1] == expected


def test_times_with_and_without_a_zone_are_read_together(
    warehouse: Path, spark: SparkSession
) -> None:
    zoned = bars([5.0], symbol="A-USD")
    for name in ("open_time", "fetched_at"):
        zoned[name] = zoned[name].dt.as_unit("us").dt.tz_localize("UTC")
    write(warehouse, "bars", zoned, "zoned")
    write(warehouse, "bars", bars([5.0], symbol="B-USD").assign(base_volume=np.int64(1)), "whole")
    query = "SELECT min(open_time) = max(open_time) AS same FROM bars WHERE symbol <> 'BTC-USD'"
    assert list(read_sql(warehouse, query)["same"]) == [True]
    assert ask_spark(spark, str(warehouse), query, most=1)[1] == [(True,)]


@pytest.mark.parametrize("name", ["[a]{b,c} 50%20", "a*b?`c'd", 'x=1 "Bär" a\\b'])
def test_a_path_may_have_any_characters(tmp_path: Path, name: str, spark: SparkSession) -> None:
    warehouse = tmp_path / name / "w"
    hostile.good(warehouse)
    hostile.good(tmp_path / "b" / "w")
    write(tmp_path / "a" / "w", "bars", bars([1.0], symbol="OTHER-USD"))
    assert counts(warehouse) == [("BTC-USD", 4)]
    assert ask_spark(spark, str(warehouse), COUNTS, most=9)[1] == [("BTC-USD", 4)]
    batches = "SELECT DISTINCT batch FROM predictions_raw"
    assert list(read_sql(warehouse, batches)["batch"]) == ["good"]
    assert ask_spark(spark, str(warehouse), batches, most=9)[1] == [("good",)]


def test_a_folder_that_goes_while_it_is_read_is_looked_for_again(warehouse: Path) -> None:
    attempts: list[int] = []

    def question(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, int]]:
        attempts.append(1)
        if len(attempts) == 1:  # compaction publishes the new folder, then removes the old ones
            write(warehouse, "bars", bars(hostile.CLOSE), "day-2026-01-01-0")
            for place in range(4):
                shutil.rmtree(warehouse / "bars" / f"batch=good-{place}")
        return connection.execute(COUNTS).fetchall()

    assert ask(warehouse, question) == [("BTC-USD", 4)]
    assert len(attempts) == 2


def test_a_file_that_was_mended_is_read_again(warehouse: Path) -> None:
    file = hostile.add_bad_file(warehouse, "cut")
    assert counts(warehouse) == [("BTC-USD", 4)]
    shutil.rmtree(file.parent)
    write(warehouse, "bars", bars([3.0], symbol="BAD-USD"), "cut")
    assert counts(warehouse) == [("BAD-USD", 1), ("BTC-USD", 4)]


def test_only_files_that_can_hold_rows_of_a_time_are_asked(warehouse: Path) -> None:
    files = table_files(warehouse, BARS)
    start_ms = 1_767_225_600_000
    found = files.since(start_ms + 2 * 60_000)
    assert [Path(one.path).parent.name for one in found] == ["batch=good-2", "batch=good-3"]


def test_predictions_of_a_bad_file_do_not_hide_those_of_others(warehouse: Path) -> None:
    rows = predictions(hostile.CLOSE, hostile.CLOSE[1:], symbol="ODD-USD")
    write(warehouse, "predictions", rows.assign(horizon=0), "odd")
    update_scores(warehouse)
    assert set(read_board(warehouse)["symbol"]) == {"BTC-USD"}


@pytest.mark.parametrize("spoilt", [b"", b"PAR1", None])
def test_rows_are_added_to_a_file_that_can_not_be_read(
    tmp_path: Path, spoilt: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    row = {"symbol": "A-B", "interval": "1m", "as_of": START, "horizon": 1, "arima_close": 1.0}
    rows = pd.DataFrame([{**row, "fitted_until": START}])
    append_rows(tmp_path, ARIMA, "2026-01-01", rows)
    if spoilt is not None:
        (tmp_path / "arima" / "batch=2026-01-01" / "part-0.parquet").write_bytes(spoilt)
    append_rows(tmp_path, ARIMA, "2026-01-01", rows.assign(horizon=5))
    found = sorted(read_sql(tmp_path, "SELECT horizon FROM arima")["horizon"])
    assert found == ([1, 5] if spoilt is None else [5])
    assert ("file_replaced" in caplog.text) == (spoilt is not None)
