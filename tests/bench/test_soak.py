"""The warehouse of `make soak` is one that the stream could have written."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from bench.soak import LIMITS, broken, longer
from bench.warehouse import MINUTE_MS, Market, Recorder, folders, publish
from conf.sections import Registry as RegistrySettings
from model.forecast import Forecaster
from model.registry import Registry
from store.schema import STREAM_TABLES
from store.views import read_sql

FIRST_MS = 1_704_067_200_000
NAMES = ["A-USD", "B-USD"]


@pytest.fixture
def forecaster(champion_registry: RegistrySettings) -> Forecaster:
    registry = Registry.of(champion_registry)
    return Forecaster(registry.load("1m-1"))


def a_day(folder: Path) -> Recorder:
    """A warehouse of a day of bars, and what lays down what follows."""
    recorder = Recorder(folder, Market(NAMES, FIRST_MS))
    recorder.lay_days(1)
    return recorder


def rows(folder: Path, table: str) -> pd.DataFrame:
    """A table in order of time."""
    kept = STREAM_TABLES[table]
    order = [(name, "ascending") for name in (kept.time, *kept.identity)]
    return pq.read_table(folder / table, partitioning=None).sort_by(order).to_pandas()


def test_a_day_in_one_folder_holds_the_rows_of_a_folder_a_minute(
    tmp_path: Path, forecaster: Forecaster
) -> None:
    days, minutes = a_day(tmp_path / "days"), a_day(tmp_path / "minutes")
    days.forecaster = minutes.forecaster = forecaster
    days.lay_days(1)
    minutes.lay_minutes(30)
    minutes.lay_minutes(10)
    assert folders(tmp_path / "days") == {"bars": 2, "predictions": 1}
    assert folders(tmp_path / "minutes") == {"bars": 1 + 40, "predictions": 40}
    for table in ("bars", "predictions"):
        found = rows(tmp_path / "minutes", table)
        pd.testing.assert_frame_equal(rows(tmp_path / "days", table).head(len(found)), found)


def test_every_bar_is_predicted_once_by_the_model_from_the_bars_before_it(
    tmp_path: Path, forecaster: Forecaster
) -> None:
    recorder = a_day(tmp_path)
    recorder.forecaster = forecaster
    recorder.lay_days(1)
    bars, made = rows(tmp_path, "bars"), rows(tmp_path, "predictions")
    assert len(made) == 1440 * len(NAMES) * len(forecaster.horizons)
    values = ["open", "high", "low", "close", "base_volume", "quote_volume"]
    for name in NAMES:
        own = bars[bars["symbol"] == name][values].to_numpy()
        expected = forecaster.predict(own, np.arange(1440, 2880)).predicted_close
        found = made[made["symbol"] == name].sort_values(["as_of", "horizon"])
        np.testing.assert_allclose(found["predicted_close"], expected.ravel(), rtol=1e-5)
    assert read_sql(tmp_path, "SELECT count(*) FROM scored").iloc[0, 0] > 0


def test_minutes_laid_aside_are_the_next_ones_once_they_are_published(
    tmp_path: Path, forecaster: Forecaster
) -> None:
    recorder = a_day(tmp_path / "warehouse")
    recorder.forecaster = forecaster
    recorder.lay_minutes(2)
    recorder.lay_minutes(1, tmp_path / "next")
    newest = "SELECT epoch_ms(max(open_time)) FROM bars"
    before = read_sql(tmp_path / "warehouse", newest).iloc[0, 0]
    publish(tmp_path / "next", tmp_path / "warehouse")
    assert read_sql(tmp_path / "warehouse", newest).iloc[0, 0] == before + MINUTE_MS
    assert folders(tmp_path / "warehouse") == {"bars": 4, "predictions": 3}


def test_a_limit_that_is_not_kept_is_named() -> None:
    kept = {name: limit / 2 for name, limit in LIMITS.items()}
    month = {**kept, "look_cpu_s": 1.0, "tables_s": 0.001}
    year = {**kept, "look_cpu_s": 1.5, "tables_s": 0.01}
    ratios = longer(month, year)
    assert ratios["look_cpu_s"] == 1.5
    assert ratios["tables_s"] == 0.1  # both are too short to compare
    report = {"sizes": {"month": month, "year": year | {"look_mb": 800.0}}}
    found = broken(report | {"year_over_month": ratios})
    assert found == [
        "year: look_mb 800 is over 700",
        "look_cpu_s: a year costs 1.5 times a month, over 1.3",
    ]
