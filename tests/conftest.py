"""One broker and one Spark session a run; topics and folders of its own for each test."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.broker import EmbeddedBroker


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
