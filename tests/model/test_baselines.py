import numpy as np
import pytest

from model.baselines import BASELINES, Arima, Ridge, fit_baselines
from model.dataset import Span, window_ends
from model.outcomes import directional_accuracy, score, skill
from model.series import Series
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


def prices(count: int, kind: str) -> np.ndarray:
    """Closes of markets in which there is next to nothing to fit."""
    noise = np.random.default_rng(6)
    close = {
        "constant": np.ones(count),
        "one tick": np.where(np.arange(count) < count // 2, 1.0, 1.0001),
        "one tick at the end": np.where(np.arange(count) < count - 40, 1.0, 1.0001),
        "a stablecoin": 1 + 0.0001 * noise.integers(-1, 2, count),
        "a tick to and fro": 1 + 0.0001 * (np.arange(count) % 2),
        "next to nothing": 1 + 1e-15 * noise.integers(0, 2, count),
        "a denormal price": 5e-324 * noise.integers(1, 3, count),
        "a tenfold move": np.where(np.arange(count) == count // 2, 10.0, 1.0)
        * np.exp(np.cumsum(noise.normal(0, 0.001, count))),
        "few bars": np.append(np.full(count - 5, np.nan), np.linspace(1, 2, 5)),
        "no bars": np.full(count, np.nan),
    }
    return np.asarray(close[kind])


KINDS = [
    "constant",
    "one tick",
    "one tick at the end",
    "a stablecoin",
    "a tick to and fro",
    "next to nothing",
    "a denormal price",
    "a tenfold move",
    "few bars",
    "no bars",
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_market_without_anything_to_fit_has_a_sane_forecast_of_each_baseline(kind: str) -> None:
    close = prices(900, kind)
    series = Series("A-B", "1m", 0, np.column_stack([close] * 4 + [np.zeros(900)] * 2))
    fitted = fit_baselines(BASELINES, series, Span(0, 600 * 60_000), 20, (1, 5))
    ends = window_ends(series, Span(600 * 60_000, series.end_time), 20, (1, 5))
    typical = np.abs(np.diff(np.log(close)))[np.isfinite(np.diff(np.log(close)))]
    for baseline in fitted.values():
        forecast = baseline.log_returns(series.close, ends, (1, 5))
        assert forecast.shape == (len(ends), 2)
        assert np.isfinite(forecast).all()
        assert (np.abs(forecast) <= 10 * max(typical, default=0.0)).all()


def test_moving_averages_that_would_explode_are_turned_into_their_mirror_images() -> None:
    returns = np.random.default_rng(7).normal(0, 1e-4, 5_000)
    close = np.exp(np.cumsum(returns))
    for ar, ma in (([], [-2.0]), ([], [2.5, 1.3]), ([1.2], []), ([0.5], [0.0, -1.0])):
        arima = Arima.of(ar, ma, 0.0)
        forecast = arima.log_returns(close, np.arange(100, 4_990), (1, 5))
        assert np.abs(forecast).max() < 0.05
    kept = Arima.of([0.5, 0.2], [0.3, -0.4], 0.1)
    assert (kept.ar.tolist(), kept.ma.tolist(), kept.mean) == ([0.5, 0.2], [0.3, -0.4], 0.1)
    assert len(Arima.of([float("nan")], [0.1], 0.0).ma) == 0
