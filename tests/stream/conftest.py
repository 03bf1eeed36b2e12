from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from conf.settings import Registry as RegistrySettings
from jobs.machine.broker import EmbeddedBroker
from tests.streams import RunningStream, stream_settings


@pytest.fixture
def stream(
    spark: SparkSession,
    broker: EmbeddedBroker,
    topic_prefix: str,
    tmp_path: Path,
    champion_registry: RegistrySettings,
) -> Iterator[RunningStream]:
    settings = stream_settings(broker, topic_prefix, tmp_path, champion_registry)
    running = RunningStream(spark, settings)
    yield running
    running.stop()
