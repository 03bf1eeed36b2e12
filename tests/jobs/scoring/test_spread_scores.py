"""The scores of distributions on the scoreboard, over what came of the same rows at once."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jobs.scoring.scoreboard import update_scores
from model.distribution import crps, interval_score, pinball, pit, qlike
from model.intervals import QUANTILES
from model.significance import diebold_mariano
from tests.tables import START, bars, predictions, random_walk, write

# The half-widths of a normal distribution's intervals that cover 50, 80 and 90 %.
NORMAL = [0.6745, 1.2816, 1.6449]


def spread(close: list[float], seed: int, horizon: int = 1) -> pd.DataFrame:
    """Predictions with quantiles that lie unevenly, from each of these closes."""
    rows = predictions(close, close, horizon, half_width=0.002)
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


def test_trailing_volatility_has_the_scores_that_its_formula_gives(tmp_path: Path) -> None:
    close, horizon, block = random_walk(1_500, seed=8), 5, 240
    write(tmp_path, "predictions", spread(close, 5, horizon))
    write(tmp_path, "bars", bars(close[:1_000]), "q-0")
    update_scores(tmp_path)
    write(tmp_path, "bars", bars(close)[1_000:], "q-1")
    found = update_scores(tmp_path).query("span == 'all'").iloc[0]
    log = np.log(close)
    sizes = pd.Series(np.diff(log, prepend=np.nan) ** 2).rolling(30).mean().to_numpy() ** 0.5
    size = sizes[:-horizon] * horizon**0.5
    actual = log[horizon:] - log[:-horizon]
    # Minutes of target times, of which a block holds those behind its beginning.
    ends = int(START.timestamp()) // 60 + np.arange(len(actual)) + 1 + horizon
    scores = []
    for at in np.flatnonzero(np.isfinite(size)):
        begin = (ends[at] - 1) // block * block
        before = (ends <= begin) & (ends > begin - 2 * block) & np.isfinite(size)
        errors = np.sort(np.abs(actual[before]) / size[before])
        widths = NORMAL
        if len(errors) >= 50:
            widths = [errors[int(np.ceil((len(errors) + 1) * c)) - 1] for c in (0.5, 0.8, 0.9)]
        half = size[at] * np.array(widths)
        quantiles = np.array([[*-half[::-1], 0.0, *half]])
        scores.append(
            (
                crps(actual[at : at + 1], quantiles)[0],
                interval_score(actual[at : at + 1], -half[2:], half[2:], 0.9)[0],
                abs(actual[at]) <= half[2],
            )
        )
    names = ["crps_trailing", "interval_score_trailing", "coverage_trailing"]
    assert found[names].tolist() == pytest.approx(np.mean(scores, axis=0).tolist(), rel=1e-6)
    rows = spread(close, 5, horizon)[: len(actual)]
    own = crps(actual, np.log(rows[list(QUANTILES)].to_numpy() / rows[["last_close"]].to_numpy()))
    own, rival = own[np.isfinite(size)], np.array(scores)[:, 0]
    assert found["crps_skill"] == pytest.approx(1 - own.sum() / rival.sum(), rel=1e-6)
    expected = diebold_mariano(own, rival, horizon)
    assert found["dm_crps"] == pytest.approx(expected.statistic, rel=1e-5)
    assert found["dm_p_crps"] == pytest.approx(expected.p_value, abs=1e-7)


def test_an_interval_that_promises_to_hold_every_price_has_no_score(tmp_path: Path) -> None:
    close = random_walk(300, seed=4)
    rows = spread(close, seed=5)
    found = []
    for name, first in (("whole", rows[:100].assign(coverage=1.0)), ("without", rows[:0])):
        folder = tmp_path / name
        write(folder, "bars", bars(close))
        write(folder, "predictions", pd.concat([first, rows[100:]]))
        found.append(update_scores(folder).query("span == 'all'").iloc[0])
    whole, without = found
    assert whole["predictions"] == without["predictions"] + 100
    assert whole["interval_score"] == pytest.approx(without["interval_score"])


def test_predictions_of_before_have_scores_and_none_of_a_distribution(tmp_path: Path) -> None:
    close = random_walk(100, seed=4)
    write(tmp_path, "predictions", predictions(close, close))
    write(tmp_path, "bars", bars(close))
    found = update_scores(tmp_path).query("span == 'all'").iloc[0]
    assert found["predictions"] == 99
    assert found[["crps", "qlike", "pit_1", "coverage_50"]].isna().all()
