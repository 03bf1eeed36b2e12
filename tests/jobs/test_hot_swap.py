"""A new champion serves from the next micro-batch on; a broken one never does."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from conf.settings import Registry as RegistrySettings
from ingest.bar import Bar
from jobs.broker import EmbeddedBroker
from model.registry import Registry
from tests.jobs.artifacts import save_random_artifact
from tests.streams import RunningStream, stream_settings


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path / "models"))


@pytest.fixture
def own_stream(
    spark: SparkSession,
    broker: EmbeddedBroker,
    topic_prefix: str,
    tmp_path: Path,
) -> Iterator[RunningStream]:
    settings = RegistrySettings(
        tracking_uri=f"sqlite:///{tmp_path}/mlflow.db", artifact_dir=str(tmp_path / "models")
    )
    running = RunningStream(spark, stream_settings(broker, topic_prefix, tmp_path, settings))
    yield running
    running.stop()


def register(
    registry: Registry, folder: Path, seed: int, lookback: int = 60, interval: str = "1m"
) -> str:
    save_random_artifact(folder / f"seed{seed}", seed, lookback, interval)
    return registry.register(folder / f"seed{seed}", interval)


def test_champions_come_and_go_while_the_stream_runs(
    own_stream: RunningStream, registry: Registry, tmp_path: Path, btc: list[Bar]
) -> None:
    own_stream.publish(btc[:80])
    assert len(own_stream.table("bars")) == 80
    assert own_stream.table("predictions").empty

    registry.promote(register(registry, tmp_path, seed=1))
    own_stream.publish(btc[80:90])
    registry.promote(register(registry, tmp_path, seed=2))
    own_stream.publish(btc[90:100])

    registry.promote(register(registry, tmp_path, seed=3, lookback=30))
    own_stream.publish(btc[100:105])
    tampered = register(registry, tmp_path, seed=4)
    registry.promote(tampered)
    onnx = registry.folder(tampered) / "model.onnx"
    content = onnx.read_bytes()
    onnx.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    own_stream.publish(btc[105:110])

    rows = own_stream.table("predictions").sort_values("as_of")
    versions = rows[rows["horizon"] == 1]["model_version"].tolist()
    assert versions == ["1m-1"] * 10 + ["1m-2"] * 20


def test_each_interval_of_a_symbol_is_served_by_its_own_champion(
    own_stream: RunningStream, registry: Registry, tmp_path: Path, btc: list[Bar]
) -> None:
    registry.promote(register(registry, tmp_path, seed=1))
    registry.promote(register(registry, tmp_path, seed=2, interval="1h"))
    first_hour = btc[0].open_time // 3_600_000 * 3_600_000
    hours = [
        replace(bar, interval="1h", open_time=first_hour + i * 3_600_000)
        for i, bar in enumerate(btc[:65])
    ]
    own_stream.publish([*btc[:65], *hours])
    rows = own_stream.table("predictions")
    served = rows.groupby(["interval", "model_version"]).size().to_dict()
    assert served == {("1m", "1m-1"): 5 * 3, ("1h", "1h-1"): 5 * 3}
    target = rows[rows["horizon"] == 5].set_index("interval")
    ahead = (target["target_time"] - target["as_of"]).groupby("interval").first()
    assert ahead.to_dict() == {"1h": pd.Timedelta(hours=5), "1m": pd.Timedelta(minutes=5)}
