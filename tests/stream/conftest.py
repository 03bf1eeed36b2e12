"""What the tests of leaders share: four symbols of which two lead, and the models for them."""

import shutil
from pathlib import Path

import pytest

from conf.sections import Market
from conf.sections import Registry as RegistrySettings
from tests.artifacts import random_champion
from tests.leaders import LEADERS, SYMBOLS, Bars, four_symbols


@pytest.fixture(scope="session")
def market_bars(data_dir: Path) -> Bars:
    return four_symbols(data_dir)


@pytest.fixture(scope="session")
def market_with_a_gap(market_bars: Bars) -> Bars:
    """The same, but a leader lacks a minute."""
    ltc = market_bars["LTC-USD"]
    return {**market_bars, "LTC-USD": ltc[:70] + ltc[71:]}


@pytest.fixture(scope="session")
def led_registry(
    mlflow_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> RegistrySettings:
    """1m-2 is champion and reads leaders; 1m-1 was before it and reads none."""
    folder = tmp_path_factory.mktemp("registry")
    shutil.copy(mlflow_database, folder / "mlflow.db")
    return random_champion(folder, Market(leaders=LEADERS), SYMBOLS)
