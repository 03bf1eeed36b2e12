"""Whether acting on forecasts would have paid, and how sure that is."""

import math

import numpy as np
import pytest

from model.outcomes import LSTM, Outcomes
from model.paid import Paid, would_have_paid

MINUTE_MS = 60_000


def outcomes(
    forecast: list[float], moved: list[float], horizon: int = 1, minutes: list[int] | None = None
) -> Outcomes:
    times = np.array(minutes or range(len(moved)), np.int64) * MINUTE_MS
    closes = np.column_stack([np.full(len(moved), 100.0), 100 * np.exp(np.array(moved))])
    made = np.array(forecast, float)[:, None]
    return Outcomes.of_windows(
        "A-B", times, (horizon,), closes, {LSTM: made}, np.ones_like(made), np.ones_like(made)
    )


def test_the_gain_is_that_of_each_move_and_a_turn_costs_two_sides() -> None:
    found = would_have_paid(outcomes([1, 1, -1, 0], [4e-4, -1e-4, -3e-4, 2e-4]), LSTM)
    assert found.actions == 3
    assert found.gain_bp == pytest.approx(1.5)
    assert found.turnover == pytest.approx(1.0)
    assert found.break_even_bp == pytest.approx(1.5)


def test_a_position_is_held_to_its_horizon_and_on_where_the_sign_stays() -> None:
    found = would_have_paid(outcomes([1, -1, 1, -1], [1e-4, -1e-4] * 2, horizon=2), LSTM)
    assert found.turnover == pytest.approx(1.0)  # two positions, each bought and sold once


def test_before_a_gap_a_position_is_closed_and_behind_it_opened_anew() -> None:
    found = would_have_paid(outcomes([1, 1, 1], [1e-4] * 3, minutes=[0, 1, 9]), LSTM)
    assert found.turnover == pytest.approx(4 / 3)


def test_who_never_acts_has_no_fee_to_break_even_at() -> None:
    found = would_have_paid(outcomes([0, 0], [1e-4, 1e-4]), LSTM)
    assert (found.actions, found.gain_bp) == (0, 0.0)
    assert math.isnan(found.break_even_bp)
    assert "nothing to act on" in found.sentence(10)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (11, 15, "it would have paid"),
        (5, 15, "can't be told from chance"),
        (1, 5, "it would not have paid"),
    ],
)
def test_the_verdict_holds_the_usual_fee_against_the_interval(
    low: float, high: float, verdict: str
) -> None:
    assert verdict in Paid(9, 1.0, 1.0, (low + high) / 2, low, high).sentence(10)


@pytest.mark.parametrize("horizon", [1, 5])
def test_in_random_markets_the_interval_holds_zero_as_often_as_it_says(horizon: int) -> None:
    """Heavy tails, volatility in clusters, signs that stay for a while; nothing to be known."""
    held = 0
    for seed in range(200):
        noise = np.random.default_rng(seed)
        spread = np.exp(0.5 * np.convolve(noise.normal(size=1099), np.ones(100) / 10, "valid"))
        moves = 1e-4 * spread * noise.standard_t(4, 1000)
        ahead = np.convolve(moves, np.ones(horizon), "valid")
        trend = np.convolve(noise.normal(size=1000), np.ones(5), "valid")[: len(ahead)]
        ahead = ahead[: len(trend)]
        found = would_have_paid(outcomes(trend.tolist(), ahead.tolist(), horizon), LSTM, seed)
        held += found.low_bp <= 0 <= found.high_bp
    assert 182 <= held <= 196
