"""How far the price may move: the same answer in Python, in SQL and in a sentence."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from dashboard.api_types import Outlook
from dashboard.outlook import outlooks
from dashboard.tables import Tables
from jobs.cli import group
from jobs.scoring.scoreboard import update_scores
from model.intervals import QUANTILES
from store.views import read_sql
from tests import tables
from tests.dashboard.api_server import NO_BROKER, chosen_settings

CLOSE = tables.random_walk(400, seed=6)
SIZES = np.random.default_rng(7).uniform(0.0005, 0.0015, len(CLOSE))
# Of Laplace moves around the last price, in their mean size.
AT = np.array([-2.302585, -1.609438, -0.693147, 0.0, 0.693147, 1.609438, 2.302585])


def told(horizon: int) -> pd.DataFrame:
    """Predictions of a model that says how far."""
    rows = tables.predictions(CLOSE, CLOSE, horizon)
    rows["scale"] = SIZES * np.sqrt(horizon)
    for name, at in zip(QUANTILES, AT, strict=True):
        rows[name] = rows["last_close"] * np.exp(at * rows["scale"])
    return rows.assign(lower=rows["q05"], upper=rows["q95"], proven="how far")


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("warehouse")
    tables.write(folder, "bars", tables.bars(CLOSE))
    for horizon in (1, 15):
        tables.write(folder, "predictions", told(horizon), f"q-{horizon}")
    before = tables.predictions(CLOSE, CLOSE, symbol="OLD-USD")
    tables.write(folder, "predictions", before, "q-old")
    update_scores(folder)
    return folder


def of(warehouse: Path, symbol: str, move: float = 0.002) -> list[Outlook]:
    return outlooks(Tables(warehouse), symbol, "1m", move)


def test_the_chance_of_a_larger_move_is_that_of_the_distribution(warehouse: Path) -> None:
    for one in of(warehouse, "BTC-USD"):
        assert one.scale is not None
        assert one.exceeds == pytest.approx(np.exp(-0.002 / one.scale), abs=0.05)
    rare = of(warehouse, "BTC-USD", move=0.01)[0]
    assert rare.exceeds == pytest.approx(np.exp(-0.00995 / rare.scale), rel=0.15)


def test_livelier_is_the_share_of_the_weeks_expected_sizes_that_were_smaller(
    warehouse: Path,
) -> None:
    share = float((SIZES[:-1] < SIZES[-1]).mean())
    assert [one.livelier for one in of(warehouse, "BTC-USD")] == pytest.approx([share, share])


def test_a_horizon_that_no_model_forecasts_any_more_has_no_outlook(tmp_path: Path) -> None:
    tables.write(tmp_path, "bars", tables.bars(CLOSE))
    tables.write(tmp_path, "predictions", told(1), "q-1")
    tables.write(tmp_path, "predictions", told(15)[:-1], "q-15")
    assert read_sql(tmp_path, "SELECT horizon FROM outlook")["horizon"].tolist() == [1]
    assert [one.horizon for one in of(tmp_path, "BTC-USD")] == [1]


def test_what_is_older_than_a_week_says_nothing_of_what_is_usual(tmp_path: Path) -> None:
    tables.write(tmp_path, "bars", tables.bars(CLOSE))
    rows = told(1)
    rows.loc[rows.index[:250], ["as_of", "target_time"]] -= pd.Timedelta(days=8)
    tables.write(tmp_path, "predictions", rows)
    (one,) = of(tmp_path, "BTC-USD")
    assert one.livelier == pytest.approx(float((SIZES[250:-1] < SIZES[-1]).mean()))


def test_a_prediction_of_before_has_an_outlook_in_which_little_is_known(warehouse: Path) -> None:
    (one,) = of(warehouse, "OLD-USD")
    assert (one.scale, one.exceeds, one.livelier, one.proven) == (None, None, None, None)
    assert "was not judged in what it tells, and has no record yet" in one.sentence
    row = read_sql(warehouse, "SELECT * FROM outlook WHERE symbol = 'OLD-USD'").iloc[0]
    assert row[["scale", "q05", "livelier", "proven"]].isna().all()


def test_the_record_is_of_the_model_that_made_the_prediction(tmp_path: Path) -> None:
    tables.write(tmp_path, "bars", tables.bars(CLOSE))
    tables.write(tmp_path, "predictions", told(1), "q-first")
    later = told(1).assign(model_version="1m-2")[-50:]
    later["predicted_at"] += pd.Timedelta(seconds=1)
    tables.write(tmp_path, "predictions", later, "q-second")
    update_scores(tmp_path)
    (one,) = of(tmp_path, "BTC-USD")
    assert (one.model_version, one.record and one.record.predictions) == ("1m-2", 49)


def test_explain_says_it_in_one_sentence_a_horizon(
    warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = chosen_settings(warehouse, NO_BROKER)
    monkeypatch.setattr("jobs.explain.load_settings", lambda: chosen)
    command = ["explain", "BTC-USD", "--move", "0.2"]
    monkeypatch.setattr("sys.argv", ["candlecast", *command])
    shown = CliRunner().invoke(group, command)
    assert shown.exit_code == 0, shown.output
    sentences = shown.output.splitlines()
    assert sentences == [one.sentence for one in of(warehouse, "BTC-USD")]
    assert sentences[0].startswith("In 1 min BTC-USD closes between ")
    assert "by more than 0.20% with a probability of " in sentences[0]
    assert "1m-1 is proven in how far, and of 399 such intervals " in sentences[0]
