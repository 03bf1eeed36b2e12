"""One broker and one Spark session a run; topics and folders of its own for each test."""

import os
import shutil
import sys
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from pyspark.sql import SparkSession

from conf.sections import Intervals, Training
from conf.sections import Registry as RegistrySettings
from conf.settings import Settings
from ingest.bar import Bar
from ingest.sources.recorded import read_bars
from jobs.machine.broker import EmbeddedBroker
from model import empty_registry
from model.registry import Registry
from model.series import Series
from spark.session import build_session
from tests.artifacts import random_champion
from tests.streams import RunningStream, stream_settings
from tests.synthetic import START, random_series

if TYPE_CHECKING:  # with these come TensorFlow and Playwright, which few tests need
    from playwright.sync_api import Browser

    from model.training import ModelSettings, TrainedModel

# How long an example takes says nothing on a busy machine.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of two workers one has the broker and the Spark session, and each file goes to one."""
    files = {item.path for item in items if {"broker", "spark"} & _fixtures(item)}
    for item in items:
        group = "broker and Spark" if item.path in files else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


def _fixtures(item: pytest.Item) -> set[str]:
    return set(getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def topic_prefix() -> str:
    """Unique to the test, so that tests share a broker and no topic."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    from tests.dashboard.browser import open_browser

    with open_browser() as running:
        yield running


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
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database to copy: making one takes seconds."""
    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    empty_registry.make(file)
    return file


@pytest.fixture
def registry(mlflow_database: Path, tmp_path: Path) -> Registry:
    """A registry of one test, without a model."""
    shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    return Registry(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "models")


@pytest.fixture(scope="session")
def champion_registry(
    mlflow_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> RegistrySettings:
    """A registry in which 1m-1 is champion: random weights, so that every window counts."""
    folder = tmp_path_factory.mktemp("registry")
    shutil.copy(mlflow_database, folder / "mlflow.db")
    return random_champion(folder)


@pytest.fixture(scope="session")
def btc(data_dir: Path) -> list[Bar]:
    """Gap-free recorded minutes."""
    file = data_dir / "btcusdt_binance_1m_10086rows_2024-12.csv.gz"
    return list(read_bars(file, "BTC-USDT", "1m"))[:200]


@pytest.fixture(scope="session")
def small() -> "ModelSettings":
    """A model that trains in seconds."""
    from model.training import ModelSettings

    training = Training(
        horizons=(1, 3),
        units=4,
        members=2,
        learning_rate=0.01,
        max_epochs=3,
        patience=2,
        batch_size=16,
        validation_share=0.25,
        test_share=0.2,
        seed=7,
    )
    return ModelSettings(16, training, Intervals(coverage=0.9, adapt_rate=0.02))


@pytest.fixture(scope="session")
def momentum_series() -> Sequence[Series]:
    """Two symbols whose returns follow one another: there is something to learn."""
    return (
        random_series(1500, seed=11, momentum=0.4, symbol="BTC-USD"),
        random_series(1500, seed=12, momentum=0.4, symbol="ETH-USD"),
    )


@pytest.fixture(scope="session")
def trained(momentum_series: Sequence[Series], small: "ModelSettings") -> "TrainedModel":
    """A small model of the momentum series, its last fifth left out."""
    from model.dataset import Span
    from model.training import fit_model

    return fit_model(momentum_series, Span(0, START + 1200 * 60_000), small)


@pytest.fixture
def stream(
    spark: SparkSession,
    broker: EmbeddedBroker,
    topic_prefix: str,
    tmp_path: Path,
    champion_registry: RegistrySettings,
) -> Iterator[RunningStream]:
    """A stream with topics and folders of its own; it starts when the first bars are sent."""
    settings = stream_settings(broker, topic_prefix, tmp_path, champion_registry)
    running = RunningStream(spark, settings)
    yield running
    running.stop()
