"""Forecasts held against what came."""

import math

import numpy as np
import pytest

from model.outcomes import Outcomes, joined


def outcomes_of(symbol: str, actual: list[float], forecast: list[float]) -> Outcomes:
    """Windows a minute apart at a last close of 100, at one horizon."""
    closes = 100 * np.exp(np.column_stack([np.zeros(len(actual)), actual]))
    times = np.arange(len(actual)) * 60_000
    forecasts = {"lstm": np.array(forecast)[:, None]}
    scale = np.full((len(actual), 1), 0.02)
    return Outcomes.of_windows(symbol, times, (1,), closes, forecasts, scale, scale)


def test_a_row_is_a_window_at_a_horizon() -> None:
    closes = np.array([[100.0, 101.0, 102.0], [101.0, 102.0, 103.0]])
    forecast = np.array([[0.1, 0.2], [0.3, 0.4]])
    found = Outcomes.of_windows(
        "BTC", np.array([7, 8]), (1, 5), closes, {"a": forecast}, forecast, forecast
    )
    later = found.at(5)
    assert found.horizon.tolist() == [1, 5, 1, 5]
    assert later.time.tolist() == [7, 8]
    assert later.forecast("a").tolist() == [0.2, 0.4]
    np.testing.assert_allclose(later.actual, np.log([102 / 100, 103 / 101]))


def test_persistence_forecasts_no_change() -> None:
    found = outcomes_of("BTC", [0.01, -0.02], [0.01, -0.02])
    assert found.forecast("persistence").tolist() == [0, 0]
    assert found.skill("persistence") == 0
    assert found.skill("lstm") == pytest.approx(1)


def test_errors_of_several_symbols_at_one_time_count_as_one() -> None:
    both = joined([outcomes_of("BTC", [0.1, 0.3], [0, 0]), outcomes_of("ETH", [0.3, 0.3], [0, 0])])
    np.testing.assert_allclose(both.loss_by_time("lstm"), [(0.01 + 0.09) / 2, 0.09])


def test_a_residual_beyond_one_is_a_price_outside_its_interval() -> None:
    found = outcomes_of("BTC", [0.01, 0.05], [0.0, 0.0])
    np.testing.assert_allclose(found.residuals("lstm"), [0.5, 2.5])


def test_the_direction_of_no_move_is_not_scored() -> None:
    share, low, high = outcomes_of("BTC", [0.0, 0.0], [0.1, 0.1]).direction("lstm")
    assert math.isnan(share)
    assert (low, high) == (0, 1)
    assert outcomes_of("BTC", [0.1, 0.1, 0.0], [0.2, -0.1, 0.3]).direction("lstm")[0] == 0.5


def test_a_forecast_of_the_last_price_up_to_rounding_is_a_tie() -> None:
    rounding = float(np.log(1.0000000178))
    found = outcomes_of("USDC", [0.001, -0.001, 0.0, 0.0] * 30, [rounding] * 120)
    assert found.against("lstm", "persistence").p_value == 1.0
    assert found.skill("lstm") == 0
    assert math.isnan(found.direction("lstm")[0])
