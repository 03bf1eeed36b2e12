"""Alerts on the market: each begins once and ends once."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conf.sections import Alerts
from jobs.scoring.alerts import raise_alerts
from jobs.scoring.kept import FOLDER
from tests.tables import START, bars, predictions, write

CLOSE = [100.0] * 200
NOW_S = START.timestamp() + 201 * 60
NO_BOARD = pd.DataFrame()


def names(folder: Path, minutes: int = 0, **bounds: object) -> list[str]:
    """What is alerted on `minutes` later, but for series that fell silent."""
    chosen = Alerts(**bounds)  # type: ignore[arg-type]
    found = raise_alerts(NO_BOARD, folder, chosen, now=lambda: NOW_S + 60 * minutes)
    return [one.name for one in found if one.name.startswith(("outside", "lively"))]


def sent(folder: Path) -> list[str]:
    state = json.loads((folder / FOLDER / "alerts.json").read_text())
    return [name for name in state["sent"] if name.startswith(("outside", "lively"))]


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    """Two horizons; the farther expects more and more, and its last interval was left."""
    for horizon in (1, 5):
        rows = predictions(CLOSE, CLOSE, horizon, half_width=0.01)
        rows["scale"] = np.linspace(0.001, 0.002, len(rows)) if horizon == 5 else 0.001
        write(tmp_path, "predictions", rows, f"q-{horizon}")
    write(tmp_path, "bars", bars([*CLOSE[:-1], 103.0]))
    return tmp_path


def test_nothing_is_said_of_the_market_by_default(warehouse: Path) -> None:
    assert names(warehouse) == []


def test_a_price_that_leaves_its_interval_is_told_once_until_it_is_back(warehouse: Path) -> None:
    assert names(warehouse, outside_interval=True) == ["outside BTC-USD 1m"]
    assert sent(warehouse) == ["outside BTC-USD 1m"]
    later = pd.concat([bars([*CLOSE[:-1], 103.0]), bars([*CLOSE, 100.0])[-1:]])
    write(warehouse, "bars", later, "q-later")
    assert names(warehouse, 1, outside_interval=True) == []
    assert sent(warehouse) == []


def test_an_alert_of_the_market_is_not_repeated(
    warehouse: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        assert names(warehouse, outside_interval=True, repeat_after_s=1) != []
    assert len([m for m in caplog.messages if "outside the 90% interval" in m]) == 1


def test_a_move_that_is_larger_than_most_of_the_week_is_told(warehouse: Path) -> None:
    assert names(warehouse, livelier_than=0.95) == ["lively BTC-USD 1m"]


def test_a_horizon_that_no_model_forecasts_any_more_says_nothing(warehouse: Path) -> None:
    before = predictions(CLOSE[:150], CLOSE[:150], 15, half_width=0.01)
    write(warehouse, "predictions", before.assign(scale=0.001), "q-before")
    bounds = {"outside_interval": True, "livelier_than": 0.95}
    assert names(warehouse, **bounds) == ["outside BTC-USD 1m", "lively BTC-USD 1m"]


def test_of_a_series_whose_bars_no_longer_come_nothing_is_said(warehouse: Path) -> None:
    assert names(warehouse, 60, outside_interval=True, livelier_than=0.95) == []
