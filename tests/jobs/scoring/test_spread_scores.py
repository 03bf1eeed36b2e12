"""The scores of distributions on the scoreboard, over what came of the same rows at once."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jobs.scoring.scoreboard import update_scores
from model.distribution import crps, interval_score, pinball, pit, qlike
from model.intervals import QUANTILES
from tests.tables import bars, predictions, random_walk, write


def spread(close: list[float], seed: int) -> pd.DataFrame:
    """Predictions with quantiles that lie unevenly, from each of these closes."""
    rows = predictions(close, close, half_width=0.002)
    noise = np.random.default_rng(seed)
    offsets = np.sort(noise.normal(0, 0.001, (len(rows), len(QUANTILES))), axis=1)
    for place, name in enumerate(QUANTILES):
        rows[name] = rows["last_close"] * np.exp(offsets[:, place])
    return rows.assign(scale=noise.uniform(0.0005, 0.002, len(rows)), proven="how far")


def test_scores_of_the_distribution_are_those_of_all_rows_at_once(tmp_path: Path) -> None:
    close = random_walk(700, seed=4)
    rows = spread(close, seed=5)
    write(tmp_path, "predictions", rows)
    # In two looks, as bars come: what a block holds is added to what is kept.
    write(tmp_path, "bars", bars(close[:400]), "q-0")
    update_scores(tmp_path)
    write(tmp_path, "bars", bars(close)[400:], "q-1")
    found = update_scores(tmp_path).query("span == 'all'").iloc[0]
    known, last = rows.iloc[:-1], np.array(close[:-1])
    actual = np.log(np.array(close[1:]) / last)
    quantiles = np.log(known[list(QUANTILES)].to_numpy() / last[:, None])
    lower, upper = (np.log(known[name].to_numpy() / last) for name in ("lower", "upper"))
    assert found["crps"] == pytest.approx(crps(actual, quantiles).mean(), rel=1e-9)
    winkler = interval_score(actual, lower, upper, 0.9).mean()
    assert found["interval_score"] == pytest.approx(winkler, rel=1e-9)
    loss = qlike(actual, known["scale"].to_numpy()).mean()
    assert found["qlike"] == pytest.approx(loss, rel=1e-9)
    by_level = pinball(actual, quantiles).mean(axis=0)
    assert found[[f"pinball_{n}" for n in QUANTILES]].tolist() == pytest.approx(by_level, rel=1e-9)
    shares = np.bincount(pit(actual, quantiles), minlength=8) / len(actual)
    assert found[[f"pit_{part}" for part in range(1, 9)]].tolist() == pytest.approx(shares)
    inside = (quantiles[:, 2] <= actual) & (actual <= quantiles[:, 4])
    assert found["coverage_50"] == pytest.approx(inside.mean())


def test_predictions_of_before_have_scores_and_none_of_a_distribution(tmp_path: Path) -> None:
    close = random_walk(100, seed=4)
    write(tmp_path, "predictions", predictions(close, close))
    write(tmp_path, "bars", bars(close))
    found = update_scores(tmp_path).query("span == 'all'").iloc[0]
    assert found["predictions"] == 99
    assert found[["crps", "qlike", "pit_1", "coverage_50"]].isna().all()
