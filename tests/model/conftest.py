from collections.abc import Sequence

import pytest

from model.dataset import Span
from model.lstm import FitSettings
from model.series import Series
from model.training import ModelSettings, TrainedModel, fit_model
from tests.model.synthetic import random_series

SMALL = ModelSettings(
    lookback=16,
    horizons=(1, 3),
    units=4,
    members=2,
    validation_share=0.25,
    coverage=0.9,
    fit=FitSettings(learning_rate=0.01, max_epochs=3, patience=2, batch_size=16, seed=7),
)


@pytest.fixture(scope="session")
def small() -> ModelSettings:
    """A model that trains in seconds."""
    return SMALL


@pytest.fixture(scope="session")
def momentum_series() -> Sequence[Series]:
    """Two symbols whose returns follow one another: there is something to learn."""
    return (
        random_series(1500, seed=11, momentum=0.4, symbol="BTC-USD"),
        random_series(1500, seed=12, momentum=0.4, symbol="ETH-USD"),
    )


@pytest.fixture(scope="session")
def trained(momentum_series: Sequence[Series]) -> TrainedModel:
    """A small model of the momentum series, its last fifth left out."""
    part = Span(0, momentum_series[0].first_open_time + 1200 * 60_000)
    return fit_model(momentum_series, part, SMALL)
