from dataclasses import replace

import numpy as np
import pytest

from conf.errors import ArtifactMismatch
from model.forecast import Forecaster
from model.training import TrainedModel
from tests.synthetic import random_bars


def test_a_forecast_has_a_price_a_window_and_horizon(trained: TrainedModel) -> None:
    forecast = Forecaster(trained.artifact("1m-1")).predict(random_bars(400, 1), np.arange(16, 400))
    assert forecast.last_close.shape == (384,)
    assert forecast.predicted_close.shape == forecast.lower.shape == (384, 2)


def test_the_interval_holds_the_predicted_price(trained: TrainedModel) -> None:
    forecast = Forecaster(trained.artifact("1m-1")).predict(random_bars(400, 1), np.arange(16, 400))
    assert (forecast.lower < forecast.predicted_close).all()
    assert (forecast.predicted_close < forecast.upper).all()


def test_an_interval_factor_widens_its_horizon_only(trained: TrainedModel) -> None:
    bars, ends = random_bars(50, 1), np.array([49])
    plain = Forecaster(trained.artifact("1m-1")).predict(bars, ends)
    wide = Forecaster(trained.artifact("1m-1"), interval_factor=(1.0, 2.0)).predict(bars, ends)
    np.testing.assert_array_equal(wide.upper[:, 0], plain.upper[:, 0])
    assert wide.upper[0, 1] > plain.upper[0, 1]
    np.testing.assert_array_equal(wide.predicted_close, plain.predicted_close)


def test_a_window_is_forecast_alike_alone_and_among_others(trained: TrainedModel) -> None:
    bars = random_bars(700, 2)
    forecaster = Forecaster(trained.artifact("1m-1"))
    together = forecaster.predict(bars, np.arange(16, 700))
    alone = forecaster.predict(bars[500:517], np.array([16]))
    np.testing.assert_allclose(alone.predicted_close[0], together.predicted_close[500], rtol=1e-9)


def test_no_window_gives_an_empty_forecast(trained: TrainedModel) -> None:
    forecast = Forecaster(trained.artifact("1m-1")).predict(random_bars(50, 1), np.array([], int))
    assert forecast.predicted_close.shape == (0, 2)


def test_a_graph_that_is_none_is_refused(trained: TrainedModel) -> None:
    with pytest.raises(ArtifactMismatch, match=r"model.onnx cannot be loaded"):
        Forecaster(replace(trained.artifact("1m-1"), onnx=b"not a graph"))


def test_interval_factors_of_other_horizons_are_refused(trained: TrainedModel) -> None:
    with pytest.raises(ArtifactMismatch, match="2 horizons"):
        Forecaster(trained.artifact("1m-1"), interval_factor=(1.0,))
