"""One broker and one Spark session a run; topics and folders of its own for each test."""

import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from conf.settings import Registry as RegistrySettings
from conf.settings import Settings
from ingest.bar import Bar
from ingest.sources.recorded import read_bars
from jobs.machine.broker import EmbeddedBroker
from model.registry import Registry
from spark.session import build_session
from tests.artifacts import save_random_artifact


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def topic_prefix() -> str:
    """Unique to the test, so that tests share a broker and no topic."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The recorded series that the project ships."""
    return Path(__file__).parent.parent / "data"


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = build_session(Settings())
    yield session
    session.stop()


@pytest.fixture(scope="session")
def champion_registry(tmp_path_factory: pytest.TempPathFactory) -> RegistrySettings:
    """A registry in which 1m-1 is champion: random weights, so that every window counts."""
    folder = tmp_path_factory.mktemp("registry")
    settings = RegistrySettings(
        tracking_uri=f"sqlite:///{folder}/mlflow.db", artifact_dir=str(folder / "models")
    )
    save_random_artifact(folder / "artifact", seed=1)
    registry = Registry(settings.tracking_uri, settings.artifact_dir)
    registry.promote(registry.register(folder / "artifact", "1m"))
    return settings


@pytest.fixture(scope="session")
def btc(data_dir: Path) -> list[Bar]:
    """Gap-free recorded minutes."""
    file = data_dir / "btcusdt_binance_1m_10086rows_2024-12.csv.gz"
    return list(read_bars(file, "BTC-USDT", "1m"))[:200]
