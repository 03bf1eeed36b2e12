"""What a spread is worth beside others, on moves whose true size is known."""

import numpy as np
import pytest

from model.outcomes import Outcomes
from model.spread_figures import spread_figures

WIDTHS = np.array([0.6745, 1.2816, 1.6449])


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    """Normal moves of a volatility that changes; the LSTM knows it, trailing volatility half."""
    noise = np.random.default_rng(8)
    size = 0.001 * np.exp(np.sin(np.arange(4000) / 40))
    guess = size * np.exp(0.4 * noise.normal(size=len(size)))
    ones = np.ones(len(size))
    return Outcomes(
        symbol=np.full(len(size), "A-B"),
        time=np.arange(len(size)),
        horizon=np.ones(len(size), np.int64),
        last_close=ones,
        actual=size * noise.normal(size=len(size)),
        forecasts={"lstm": 0 * ones},
        scale=ones,
        trailing=size,
        spreads={"lstm": np.outer(size, WIDTHS), "trailing": np.outer(guess, WIDTHS)},
    )


def test_who_knows_the_size_has_the_better_scores(outcomes: Outcomes) -> None:
    found = spread_figures(outcomes.tracked(0.02), ("trailing",))
    assert found.better("crps", "trailing") > 0.01
    assert found.better("interval_score", "trailing") > 0.04
    assert found.qlike["lstm"] < found.qlike["trailing"]
    assert found.dm_p["trailing"] < 1e-6


def test_the_intervals_of_who_knows_the_size_hold_in_every_tenth(outcomes: Outcomes) -> None:
    found = spread_figures(outcomes, ("trailing",))
    assert list(found.coverage.values()) == pytest.approx([0.5, 0.8, 0.9], abs=0.02)
    assert np.array(found.coverage_by_volatility)[:, 2] == pytest.approx(0.9, abs=0.05)
    assert found.pit == pytest.approx([0.05, 0.05, 0.15, 0.25, 0.25, 0.15, 0.05, 0.05], abs=0.02)


def test_tracked_widths_that_were_off_cover_as_promised(outcomes: Outcomes) -> None:
    off = outcomes.spreads["lstm"] * [3.0, 0.5, 2.0]
    tracked = Outcomes(**{**vars(outcomes), "spreads": {"lstm": off}}).tracked(0.02)
    assert tracked.covered("lstm")[500:].mean(axis=0) == pytest.approx([0.5, 0.8, 0.9], abs=0.02)
    assert (np.diff(tracked.spreads["lstm"], axis=1) >= 0).all()
