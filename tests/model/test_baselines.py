import numpy as np
import pytest

from model.baselines import Arima, Ridge
from model.outcomes import directional_accuracy, score, skill
from model.significance import diebold_mariano, wilson_interval
from tests.synthetic import random_bars

CLOSE = random_bars(3000, seed=51, momentum=0.4)[:, 3]
TRAIN, TEST = np.arange(100, 2000), np.arange(2100, 2980)


def _actual(horizon: int) -> np.ndarray:
    return np.log(CLOSE[TEST + horizon] / CLOSE[TEST])


def test_ridge_finds_momentum() -> None:
    forecast = Ridge.fit(CLOSE, TRAIN, (1, 5)).log_returns(CLOSE, TEST, (1, 5))
    assert skill(_actual(1), forecast[:, 0]) > 0.1


def test_arima_finds_momentum() -> None:
    arima = Arima.fit(CLOSE[:2000])
    forecast = arima.log_returns(CLOSE, TEST, (1, 5))
    assert skill(_actual(1), forecast[:, 0]) > 0.1


def test_arima_forecasts_what_its_recursion_says() -> None:
    arima = Arima(ar=np.array([0.5]), ma=np.array([0.2]), mean=0.001)
    close = np.exp(np.cumsum([0.0, 0.011, 0.001, 0.021]))
    shock = 0.0
    deviation = 0.0
    for value in (0.010, 0.0, 0.020):
        deviation, shock = value, value - (0.5 * deviation + 0.2 * shock)
    first = 0.5 * deviation + 0.2 * shock
    expected = [first + 0.001, first + 0.5 * first + 0.002]
    np.testing.assert_allclose(arima.log_returns(close, np.array([3]), (1, 2))[0], expected)


def test_arima_of_a_series_with_a_gap_still_forecasts() -> None:
    close = CLOSE.copy()
    close[500:520] = np.nan
    assert np.isfinite(Arima.fit(close).log_returns(close, TEST, (1, 5))).all()


def test_r2_of_prices_is_near_one_for_persistence() -> None:
    last, actual = CLOSE[TEST], CLOSE[TEST + 1]
    metrics = score(last, last, actual)
    assert metrics.r2 > 0.99
    assert metrics.skill == 0


def test_direction_of_a_forecast_without_change_is_not_scored() -> None:
    assert np.isnan(directional_accuracy(np.array([1.0, -1.0]), np.zeros(2)))


def test_equal_losses_are_no_evidence() -> None:
    loss = np.random.default_rng(1).normal(size=200) ** 2
    assert diebold_mariano(loss, loss, 1).p_better == 1.0


def test_a_small_lead_in_much_noise_is_no_evidence() -> None:
    noise = np.random.default_rng(2).normal(size=(2, 200)) ** 2
    assert diebold_mariano(noise[0], noise[1], 1).p_better > 0.05


def test_p_better_is_uniform_where_neither_is_better() -> None:
    noise = np.random.default_rng(3).normal(size=(400, 2, 300)) ** 2
    passed = sum(diebold_mariano(a, b, 1).p_better < 0.05 for a, b in noise)
    assert 0.02 < passed / 400 < 0.09


@pytest.mark.parametrize(("successes", "count"), [(0, 10), (10, 10), (501, 1000)])
def test_the_interval_of_a_share_holds_it(successes: int, count: int) -> None:
    low, high = wilson_interval(successes, count)
    assert -1e-9 <= low <= successes / count <= high + 1e-9
