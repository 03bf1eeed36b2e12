"""Sums that add up exactly, and tests that are wrong as seldom as they say."""

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
from scipy.signal import lfilter

from model.outcomes import Outcomes
from model.significance import (
    Lagged,
    compare_losses,
    independent_hits,
    lags_of,
    wilson_interval,
)

WALKS = 2_000


@pytest.mark.parametrize("cuts", [[500], [1, 2, 5, 30, 31, 33, 700], [0, 3, 3, 999]])
def test_sums_of_parts_add_up_to_those_of_the_whole(cuts: list[int]) -> None:
    values = np.random.default_rng(5).normal(0.3, 1, 1000)
    whole = Lagged.of(values, np.zeros(1000, int), 1, 28)
    parts = [Lagged.of(p, np.zeros(len(p), int), 1, 28) for p in np.split(values, cuts)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.then(part)
    for field in fields(Lagged):
        np.testing.assert_allclose(
            getattr(merged, field.name), getattr(whole, field.name), rtol=1e-9, atol=1e-9
        )
    centred = values - values.mean()
    expected = [centred[lag:] @ centred[: 1000 - lag] / 1000 for lag in range(29)]
    np.testing.assert_allclose(merged.autocovariances()[0], expected, rtol=1e-9, atol=1e-12)


def test_runs_side_by_side_are_summed_as_each_by_itself() -> None:
    values, run = np.arange(1.0, 8.0), np.array([0, 0, 0, 2, 2, 2, 2])
    found = Lagged.of(values, run, 3, 2)
    assert found.count.tolist() == [3, 0, 4]
    assert found.products[:, 1].tolist() == [2 + 6, 0, 20 + 30 + 42]
    alone = [Lagged.of(values[run == n], np.zeros((run == n).sum(), int), 1, 2) for n in range(3)]
    for field in fields(Lagged):
        expected = np.concatenate([getattr(one, field.name) for one in alone])
        assert getattr(found, field.name).tolist() == expected.tolist()


def persistent(noise: np.random.Generator, count: int) -> np.ndarray:
    return lfilter([1], [1, -0.98], noise.normal(size=(WALKS, count + 200)))[:, 200:]


def constant(noise: np.random.Generator, count: int) -> np.ndarray:
    return np.repeat(noise.choice([-1.0, 1.0], (WALKS, 1)), count, axis=1)


@pytest.mark.parametrize(
    ("horizon", "forecasts"), [(1, persistent), (5, persistent), (15, persistent), (15, constant)]
)
def test_on_random_walks_direction_and_lead_are_more_than_chance_in_one_case_of_twenty(
    horizon: int, forecasts: Callable[[np.random.Generator, int], np.ndarray]
) -> None:
    noise, count = np.random.default_rng(20261128 + horizon), 480
    price = np.cumsum(noise.normal(0, 0.001, (WALKS, count + horizon)), axis=1)
    actual = price[:, horizon:] - price[:, :-horizon]
    forecast = 0.0001 * forecasts(noise, count)
    coloured = 0
    for moves, guesses in zip(actual[:200], forecast[:200], strict=True):
        coloured += _excludes_a_half(moves, guesses, horizon)
    run = np.repeat(np.arange(WALKS), count)
    signs = Lagged.of(np.sign(forecast).ravel(), run, WALKS, lags_of(horizon))
    n = independent_hits(signs, horizon)
    share = (np.sign(actual) == np.sign(forecast)).mean(axis=1)
    low, high = wilson_interval(share * n, n)
    far = (low > 0.5) | (high < 0.5)
    assert 0.03 <= far.mean() <= 0.07
    assert abs(coloured - far[:200].sum()) <= 2  # a forecast of almost no move has no direction
    # Their expected losses are equal: what a forecast adds by its size is taken away.
    lead = ((actual - forecast) ** 2 - actual**2 - forecast**2).ravel()
    p = compare_losses(Lagged.of(lead, run, WALKS, lags_of(horizon)), horizon)[1]
    assert 0.03 <= np.mean(p < 0.05) <= 0.08


def _excludes_a_half(actual: np.ndarray, forecast: np.ndarray, horizon: int) -> bool:
    n = len(actual)
    outcomes = Outcomes(
        np.full(n, "BTC"),
        np.arange(n),
        np.full(n, horizon),
        np.ones(n),
        actual,
        {"lstm": forecast},
        np.ones(n),
        np.ones(n),
    )
    _, low, high = outcomes.direction("lstm")
    return low > 0.5 or high < 0.5
