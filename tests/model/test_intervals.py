import numpy as np
import pytest

from model.intervals import adapt_factor, adapt_online, conformal_half_width


def test_a_conformal_interval_covers_new_data_as_promised() -> None:
    noise = np.random.default_rng(1)
    covered = []
    for _ in range(300):
        half = conformal_half_width(np.abs(noise.standard_t(3, size=(200, 1))), 0.9)[0]
        covered.append(np.mean(np.abs(noise.standard_t(3, size=500)) <= half))
    assert np.mean(covered) == pytest.approx(0.9, abs=0.01)


def test_too_few_residuals_give_the_widest_interval() -> None:
    assert conformal_half_width(np.array([[1.0], [3.0], [2.0]]), 0.9).tolist() == [3.0]


def test_intervals_widen_when_the_market_does() -> None:
    noise = np.random.default_rng(2)
    residuals = (
        np.abs(np.concatenate([noise.normal(size=3000), 3 * noise.normal(size=3000)])) / 1.645
    )
    static = np.mean(residuals[3000:] <= 1)
    adapted = np.mean(adapt_online(residuals, 1, 0.9, rate=0.02)[3000:])
    assert static < 0.5
    assert adapted == pytest.approx(0.9, abs=0.02)


def test_a_factor_knows_no_outcome_before_its_horizon() -> None:
    residuals = np.full(10, 2.0)
    covered = adapt_online(residuals, horizon=5, coverage=0.5, rate=2.0)
    assert covered.tolist() == [False] * 5 + [True] * 5


def test_step_by_step_and_at_once_give_the_same_factor() -> None:
    outcomes = np.array([True, False, True, True])
    factor = 1.0
    for outcome in outcomes:
        factor = adapt_factor(factor, np.array([outcome]), 0.9, 0.05)
    assert factor == pytest.approx(adapt_factor(1.0, outcomes, 0.9, 0.05))


def test_a_factor_stays_finite_when_nothing_is_ever_covered() -> None:
    assert adapt_factor(1.0, np.zeros(100_000, bool), 0.9, 0.05) == pytest.approx(20.0)
