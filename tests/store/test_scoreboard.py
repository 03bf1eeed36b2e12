"""The scoreboard: what is scored, when, and that it equals `model/outcomes.py`."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from jobs.scoring.scoreboard import update_scores
from model.outcomes import rounded, score
from model.significance import (
    Lagged,
    diebold_mariano,
    independent_hits,
    lags_of,
    wilson_interval,
)
from store.schema import SCORES
from store.spark_views import create_spark_views
from store.views import read_sql
from tests import tables
from tests.tables import bars, guesses, predictions, random_walk, read_board, write


def scored(warehouse: Path) -> pd.DataFrame:
    return read_sql(warehouse, "SELECT * FROM scored ORDER BY symbol, horizon, as_of")


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    """Two symbols, three horizons, 600 bars, ARIMA's forecasts for all but the first 100."""
    for number, symbol in enumerate(("BTC-USD", "ETH-USD")):
        close = random_walk(600, seed=number)
        write(tmp_path, "bars", bars(close, symbol), f"b-{number}")
        for horizon in (1, 5, 15):
            rows = predictions(close, guesses(close, seed=7 * horizon), horizon, symbol)
            write(tmp_path, "predictions", rows, f"p-{number}-{horizon}")
            arima = rows[["symbol", "interval", "as_of", "horizon"]].assign(
                arima_close=guesses(close, seed=horizon + 1, size=0.0003),
                fitted_until=tables.START,
            )
            write(tmp_path, "arima", arima[100:], f"a-{number}-{horizon}")
    return tmp_path


@pytest.mark.parametrize("horizon", [1, 5, 15])
def test_the_scoreboard_equals_the_evaluation_on_the_same_rows(
    warehouse: Path, horizon: int
) -> None:
    rows = scored(warehouse)
    rows = rows[(rows["symbol"] == "ETH-USD") & (rows["horizon"] == horizon)]
    last, predicted, actual = (
        rows[name].to_numpy() for name in ("last_close", "predicted_close", "actual_close")
    )
    board = update_scores(warehouse)
    found = board[
        (board["symbol"] == "ETH-USD") & (board["horizon"] == horizon) & (board["span"] == "all")
    ].iloc[0]
    metrics = score(last, predicted, actual)
    assert found["predictions"] == metrics.n_windows == 600 - horizon
    for name, value in (
        ("mae", metrics.mae),
        ("mse", metrics.mse),
        ("r2", metrics.r2),
        ("skill_persistence", metrics.skill),
        ("directional_accuracy", metrics.directional_accuracy),
    ):
        assert found[name] == pytest.approx(value, rel=1e-9), name
    moved, forecast = np.log(actual / last), rounded(np.log(predicted / last))
    signs = np.sign(forecast) * (moved != 0)
    of_one = Lagged.of(signs, np.zeros(len(signs), int), 1, lags_of(horizon))
    count = independent_hits(of_one, horizon)[0]
    wilson = wilson_interval(metrics.directional_accuracy * count, count)
    assert (found["direction_low"], found["direction_high"]) == pytest.approx(wilson, rel=1e-9)
    inside = (rows["lower"] <= actual) & (actual <= rows["upper"])
    assert found["interval_coverage"] == pytest.approx(inside.mean(), rel=1e-9)


@pytest.mark.parametrize("horizon", [1, 5, 15])
@pytest.mark.parametrize("span", ["1h", "all"])
def test_diebold_mariano_equals_the_one_of_the_gate(
    warehouse: Path, horizon: int, span: str
) -> None:
    rows = scored(warehouse)
    rows = rows[(rows["symbol"] == "BTC-USD") & (rows["horizon"] == horizon)]
    if span == "1h":
        newest = scored(warehouse)["target_time"].max()
        rows = rows[rows["target_time"] > newest - timedelta(hours=1)]
    board = update_scores(warehouse)
    found = board[
        (board["symbol"] == "BTC-USD") & (board["horizon"] == horizon) & (board["span"] == span)
    ].iloc[0]
    actual = rows["actual_return"]
    own = ((rounded(rows["predicted_return"]) - actual) ** 2).to_numpy()
    expected = diebold_mariano(own, (actual**2).to_numpy(), horizon)
    assert found["dm_persistence"] == pytest.approx(expected.statistic, rel=1e-6)
    assert found["dm_p_persistence"] == pytest.approx(expected.p_value, abs=1e-9)
    with_arima = rows["arima_return"].notna().to_numpy()
    rival = ((rows["arima_return"] - actual) ** 2).to_numpy()
    expected = diebold_mariano(own[with_arima], rival[with_arima], horizon)
    assert found["dm_arima"] == pytest.approx(expected.statistic, rel=1e-6)
    assert found["dm_p_arima"] == pytest.approx(expected.p_value, abs=1e-9)
    skill = 1 - own[with_arima].sum() / rival[with_arima].sum()
    assert found["skill_arima"] == pytest.approx(skill, rel=1e-9)


def test_spark_and_duckdb_read_the_same_scores(warehouse: Path, spark: SparkSession) -> None:
    query = "SELECT * FROM scored ORDER BY symbol, horizon, as_of"
    create_spark_views(spark, str(warehouse))
    by_spark = spark.sql(query).toPandas()
    by_duckdb = scored(warehouse)
    times = dict.fromkeys(by_duckdb.select_dtypes(include=["datetime"]).columns, "datetime64[us]")
    pd.testing.assert_frame_equal(
        by_spark.astype(times), by_duckdb.astype(times), check_dtype=False, rtol=1e-12
    )


def test_spark_and_duckdb_read_the_same_scoreboard(warehouse: Path, spark: SparkSession) -> None:
    update_scores(warehouse)
    create_spark_views(spark, str(warehouse))
    by_duckdb = read_board(warehouse)
    by_spark = spark.sql(
        f"SELECT * FROM scoreboard ORDER BY {', '.join(SCORES.identity)}"
    ).toPandas()
    times = dict.fromkeys(("first_target", "last_target"), "datetime64[us]")
    assert len(by_duckdb) == 2 * 3 * 4
    pd.testing.assert_frame_equal(by_spark.astype(times), by_duckdb, check_dtype=False)


def test_a_prediction_is_not_scored_before_its_target_time(tmp_path: Path) -> None:
    close = [100.0, 101.0, 102.0]
    write(tmp_path, "predictions", predictions(close, [101.0, 101.0, 103.0]))
    write(tmp_path, "bars", bars(close))
    assert list(scored(tmp_path)["actual_close"]) == [101.0, 102.0]
    write(tmp_path, "bars", bars([104.0], start=tables.START + 3 * tables.MINUTE), "q-1")
    assert list(scored(tmp_path)["actual_close"]) == [101.0, 102.0, 104.0]


def test_a_prediction_is_scored_against_the_revised_bar(tmp_path: Path) -> None:
    write(tmp_path, "predictions", predictions([100.0], [101.0]))
    write(tmp_path, "bars", bars([100.0, 105.0]), "q-0")
    write(tmp_path, "bars", bars([100.0, 106.0], fetched_s=30.0), "q-1")
    assert list(scored(tmp_path)["actual_close"]) == [106.0]


def test_a_prediction_made_twice_counts_once(tmp_path: Path) -> None:
    rows = predictions([100.0], [101.0])
    write(tmp_path, "predictions", rows, "first-0")
    write(tmp_path, "predictions", rows, "second-0")
    write(tmp_path, "bars", bars([100.0, 105.0]))
    assert len(scored(tmp_path)) == 1


def test_live_and_backfilled_predictions_are_apart(tmp_path: Path) -> None:
    close = random_walk(50, seed=1)
    write(tmp_path, "bars", bars(close))
    live = predictions(close, guesses(close, 1))
    late = predictions(close, guesses(close, 2), predicted_after=timedelta(days=1), version="1m-2")
    write(tmp_path, "predictions", pd.concat([live, late]))
    board = update_scores(tmp_path).query("span == 'all'")
    assert dict(zip(board["model_version"], board["backfilled"], strict=True)) == {
        "1m-1": False,
        "1m-2": True,
    }


def test_spans_end_at_the_newest_target_time_with_an_actual(tmp_path: Path) -> None:
    close = random_walk(200, seed=1)
    write(tmp_path, "bars", bars(close))
    write(tmp_path, "predictions", predictions(close, guesses(close, 1)))
    board = update_scores(tmp_path).set_index("span")["predictions"]
    assert (board["1h"], board["24h"], board["all"]) == (60, 199, 199)


def test_staging_folders_are_not_read(tmp_path: Path) -> None:
    close = [100.0, 101.0]
    write(tmp_path, "bars", bars(close))
    write(tmp_path, "predictions", predictions(close, [100.5]))
    staged = tmp_path / "predictions" / ".spark-staging-1" / "batch=q-1"
    staged.mkdir(parents=True)
    (staged / "part-0.parquet").write_bytes(b"half a file")
    assert len(scored(tmp_path)) == 1


def test_an_empty_warehouse_has_an_empty_scoreboard(tmp_path: Path) -> None:
    assert read_board(tmp_path).empty
    assert update_scores(tmp_path).empty
    assert read_board(tmp_path).empty


def test_the_view_holds_what_was_computed_last(warehouse: Path) -> None:
    update_scores(warehouse)
    write(warehouse, "bars", bars(random_walk(700, seed=0)), "b-9")
    board = update_scores(warehouse)
    pd.testing.assert_frame_equal(read_board(warehouse), board, check_dtype=False)
    newest = board.query("symbol == 'BTC-USD' and horizon == 1 and span == 'all'")
    assert list(newest["predictions"]) == [600]
