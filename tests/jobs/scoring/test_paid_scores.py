"""Whether acting on the predictions would have paid, on the scoreboard, over what came of the same
rows at once."""

import itertools
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jobs.scoring.kept import BLOCK_BARS
from jobs.scoring.scoreboard import update_scores
from model.outcomes import LSTM, Outcomes
from model.paid import Paid, would_have_paid
from tests.tables import bars, guesses, predictions, random_walk, write

COUNT = 5 * BLOCK_BARS


def paid_of(row: pd.Series) -> Paid:
    names = ("gain_bp", "turnover", "break_even_bp", "break_even_low_bp", "break_even_high_bp")
    return Paid(*(row[name] for name in names))


def expected(rows: pd.DataFrame, close: list[float], horizon: int) -> Paid:
    """Of all rows at once; the bars are numbered by the rows' index."""
    ends = rows.index.to_numpy()[rows.index < len(close) - horizon]
    closes = np.array(close)[np.column_stack([ends, ends + horizon])]
    forecast = np.log(rows.loc[ends, ["predicted_close"]].to_numpy() / closes[:, :1])
    none = np.full_like(forecast, np.nan)
    outcomes = Outcomes.of_windows(
        "BTC-USD", ends * 60_000, (horizon,), closes, {LSTM: forecast}, none, none
    )
    return would_have_paid(outcomes, LSTM)


@pytest.mark.parametrize("horizon", [1, 5, 15])
def test_what_acting_made_is_that_of_all_rows_at_once(tmp_path: Path, horizon: int) -> None:
    """Over the borders of blocks and looks, and over a gap."""
    close = random_walk(COUNT, seed=4)
    rows = predictions(close, guesses(close, seed=horizon), horizon).drop(range(300, 310))
    for since, until in itertools.pairwise((0, 400, 2 * BLOCK_BARS, COUNT)):
        write(tmp_path, "bars", bars(close)[since:until], f"b-{since}")
        come = (rows.index >= since) & (rows.index < until)
        write(tmp_path, "predictions", rows[come], f"p-{since}")
        board = update_scores(tmp_path)
    found, wanted = paid_of(board.query("span == 'all'").iloc[0]), expected(rows, close, horizon)
    assert found.gain_bp == pytest.approx(wanted.gain_bp)
    assert found.turnover == pytest.approx(wanted.turnover)
    assert found.break_even_bp == pytest.approx(wanted.break_even_bp)
    width = wanted.high_bp - wanted.low_bp
    assert found.high_bp - found.low_bp == pytest.approx(width, rel=0.25)


def test_a_prediction_that_comes_late_is_the_position_that_the_next_block_holds(
    tmp_path: Path,
) -> None:
    close = random_walk(COUNT, seed=4)
    rows = predictions(close, [1.001 * price for price in close])
    late = rows["target_time"] == rows["target_time"].iloc[0] + timedelta(minutes=BLOCK_BARS - 2)
    write(tmp_path, "bars", bars(close), "b")
    write(tmp_path, "predictions", rows[~late], "p-0")
    before = paid_of(update_scores(tmp_path).query("span == 'all'").iloc[0])
    write(tmp_path, "predictions", rows[late], "p-1")
    after = paid_of(update_scores(tmp_path).query("span == 'all'").iloc[0])
    assert round(before.turnover * (len(rows) - 2)) == 4
    assert round(after.turnover * (len(rows) - 1)) == 2


def test_of_a_few_predictions_it_is_too_early_to_tell(tmp_path: Path) -> None:
    close = random_walk(60, seed=4)
    write(tmp_path, "bars", bars(close))
    write(tmp_path, "predictions", predictions(close, guesses(close, seed=1)))
    found = paid_of(update_scores(tmp_path).query("span == 'all'").iloc[0])
    assert found.verdict(10.0) == "too early to tell"
