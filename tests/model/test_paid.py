"""Whether acting on forecasts would have paid, and how sure that is."""

import math

import numpy as np
import pytest

from model.outcomes import LSTM, Outcomes
from model.paid import Paid, acted, block_sums, break_even, would_have_paid

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
    assert (found.turnover, found.gain_bp) == (0.0, 0.0)
    assert math.isnan(found.break_even_bp)
    assert "nothing to act on" in found.sentence(10)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (11, 15, "it would have paid"),
        (5, 15, "whether it would have paid can't be told"),
        (1, 5, "it would not have paid"),
        (math.nan, math.nan, "too early to tell"),
    ],
)
def test_the_verdict_holds_the_usual_fee_against_the_interval(
    low: float, high: float, verdict: str
) -> None:
    assert verdict in Paid(1.0, 1.0, (low + high) / 2, low, high).sentence(10)


def random_market(seed: int, horizon: int) -> Outcomes:
    """Heavy tails, volatility in clusters, signs that stay for a while; nothing to be known."""
    noise = np.random.default_rng(seed)
    spread = np.exp(0.5 * np.convolve(noise.normal(size=1099), np.ones(100) / 10, "valid"))
    moves = 1e-4 * spread * noise.standard_t(4, 1000)
    ahead = np.convolve(moves, np.ones(horizon), "valid")
    trend = np.convolve(noise.normal(size=1000), np.ones(5), "valid")[: len(ahead)]
    ahead = ahead[: len(trend)]
    return outcomes(trend.tolist(), ahead.tolist(), horizon)


def interval_of_sums(one: Outcomes, horizon: int) -> tuple[float, float]:
    """The interval in basis points that follows from sums, which are made in two parts."""
    signs = np.sign(one.forecast(LSTM))
    held = np.append(np.zeros(horizon), signs[:-horizon])
    gain, turnover = acted(signs, held, one.actual)
    parts = [
        block_sums(gain[some], turnover[some], np.zeros(len(gain[some]), int), 1, horizon)
        for some in (slice(0, 480), slice(480, None))
    ]
    fee, half = break_even(gain.sum(keepdims=True), turnover.sum(keepdims=True), sum(parts))
    return 1e4 * float(fee[0] - half[0]), 1e4 * float(fee[0] + half[0])


@pytest.mark.parametrize("horizon", [1, 5])
def test_in_random_markets_the_interval_holds_zero_as_often_as_it_says(horizon: int) -> None:
    held, of_sums, wider = 0, 0, []
    for seed in range(200):
        market = random_market(seed, horizon)
        found = would_have_paid(market, LSTM, seed)
        low, high = interval_of_sums(market, horizon)
        held += found.low_bp <= 0 <= found.high_bp
        of_sums += low <= 0 <= high
        wider.append((high - low) / (found.high_bp - found.low_bp))
    assert 182 <= held <= 196
    assert 182 <= of_sums <= 196
    assert np.median(wider) == pytest.approx(1.05, abs=0.05)  # Student's distribution is wider


def test_of_too_few_forecasts_no_interval_is_told() -> None:
    few = outcomes([1.0] * 100, [1e-4] * 100)
    assert math.isnan(would_have_paid(few, LSTM).low_bp)
    assert math.isnan(interval_of_sums(few, 1)[0])
