"""ARIMA as a rival: fitted on past data alone, once a day, kept."""

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.scoring.scoreboard import update_arima, update_scores
from model.baselines import Arima
from store.views import read_sql
from tests import tables
from tests.tables import bars, guesses, predictions, random_walk, write

DAY = 1440


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day and a half of minutes, the last 600 of them predicted from."""
    folder = tmp_path_factory.mktemp("warehouse")
    close = random_walk(DAY + 720, seed=3)
    write(folder, "bars", bars(close))
    made = predictions(close, guesses(close, seed=1))
    write(folder, "predictions", made[made.index >= DAY + 120])
    update_arima(folder)
    return folder


def forecasts(warehouse: Path) -> pd.DataFrame:
    return read_sql(warehouse, "SELECT * FROM arima ORDER BY as_of, horizon")


def test_every_prediction_of_the_second_day_has_a_rival(warehouse: Path) -> None:
    found = forecasts(warehouse)
    assert len(found) == 600
    assert set(found["fitted_until"]) == {pd.Timestamp(tables.START + timedelta(days=1))}


def test_the_model_saw_only_bars_of_earlier_days(warehouse: Path) -> None:
    close = np.array(random_walk(DAY + 720, seed=3))
    fitted = Arima.fit(close[:DAY])
    ends = np.array([DAY + 120])
    expected = close[ends] * np.exp(fitted.log_returns(close, ends, [1])[:, 0])
    assert forecasts(warehouse)["arima_close"].iloc[0] == pytest.approx(expected[0], rel=1e-12)


def test_a_second_run_fits_nothing_and_adds_nothing(warehouse: Path) -> None:
    before = forecasts(warehouse)
    models = (warehouse / "_scores" / "arima.json").read_text()
    assert update_arima(warehouse) == 0
    assert len(json.loads(models)) == 1
    pd.testing.assert_frame_equal(forecasts(warehouse), before)


def test_its_times_have_no_zone_as_in_files_of_earlier_versions(warehouse: Path) -> None:
    files = (warehouse / "arima").glob("batch=*/*.parquet")
    assert {pq.read_schema(file).field("as_of").type for file in files} == {pa.timestamp("us")}


def test_a_day_without_bars_before_it_has_no_rival(tmp_path: Path) -> None:
    close = random_walk(400, seed=3)
    write(tmp_path, "bars", bars(close))
    write(tmp_path, "predictions", predictions(close, guesses(close, seed=1)))
    assert update_arima(tmp_path) == 0
    assert forecasts(tmp_path).empty


def test_hours_of_a_day_that_is_over_become_one_folder(tmp_path: Path) -> None:
    close = random_walk(2 * DAY + 120, seed=3)
    made, rows = predictions(close, guesses(close, seed=1)), bars(close)
    for number, (since, until) in enumerate([(DAY + 100, 2 * DAY - 1), (2 * DAY - 1, None)]):
        write(tmp_path, "bars", rows[:until], f"q-{number}")
        write(tmp_path, "predictions", made[since:until], f"q-{number}")
        update_arima(tmp_path)
        names = sorted(folder.name for folder in (tmp_path / "arima").iterdir())
        assert names[0].startswith("batch=2026-01-02T01" if number == 0 else "batch=2026-01-02")
    assert names == [
        "batch=2026-01-02",
        "batch=2026-01-03T00",
        "batch=2026-01-03T01",
        "batch=2026-01-03T02",
    ]
    assert len(forecasts(tmp_path)) == DAY + 20
    assert update_arima(tmp_path) == 0
    board = update_scores(tmp_path).query("span == 'all'")
    assert board["arima_predictions"].tolist() == [DAY + 19]


def test_a_damaged_hour_of_a_day_that_is_over_is_left_out(tmp_path: Path) -> None:
    close = random_walk(2 * DAY, seed=3)
    made, rows = predictions(close, guesses(close, seed=1)), bars(close)
    for number, (since, until) in enumerate([(2 * DAY - 90, 2 * DAY - 30), (2 * DAY - 30, None)]):
        write(tmp_path, "bars", rows[:until], f"q-{number}")
        write(tmp_path, "predictions", made[since:until], f"q-{number}")
        update_arima(tmp_path)
        hour = next((tmp_path / "arima").glob("batch=2026-01-02T22/*.parquet"), None)
        if hour is not None:
            hour.write_bytes(b"PAR1 cut PAR1")
    assert len(forecasts(tmp_path)) > 0


def test_a_day_that_can_not_be_fitted_is_remembered(tmp_path: Path) -> None:
    close = random_walk(400, seed=3)
    write(tmp_path, "bars", bars(close))
    write(tmp_path, "predictions", predictions(close, guesses(close, seed=1)))
    update_arima(tmp_path)
    assert set(json.loads((tmp_path / "_scores" / "arima.json").read_text()).values()) == {None}
