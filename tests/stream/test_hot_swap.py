"""A new champion serves from the next micro-batch on; a broken one never does."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pandas as pd
import pytest
from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession

from conf.sections import Registry as RegistrySettings
from ingest.bar import Bar
from ingest.publish import BarPublisher
from ingest.sources.recorded import read_bars
from jobs.machine.broker import EmbeddedBroker
from jobs.machine.processes import wait_until
from jobs.predict_stream import let_shipped_serve
from model.registry import Registry
from stream import query
from stream.micro_batch import MicroBatch
from tests.artifacts import save_random_artifact
from tests.predictions import IDENTITY
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
    registry: Registry, folder: Path, seed: int, lookback: int = 60, timeframe: str = "1m"
) -> str:
    save_random_artifact(folder / f"seed{seed}", seed, lookback, timeframe)
    return registry.register(folder / f"seed{seed}", timeframe)


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
    registry.promote(register(registry, tmp_path, seed=2, timeframe="1h"))
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


@contextmanager
def flowing(stream: RunningStream, groups: Iterator[list[Bar]]) -> Iterator[list[Bar]]:
    """Publishes group after group as long as the `with` block lasts; yields what was published."""
    kafka, stopping, published = stream.settings.kafka, threading.Event(), list[Bar]()

    def publish() -> None:
        with BarPublisher(kafka, kafka.bars_topic) as publisher:
            for group in groups:
                publisher.publish(group)
                published.extend(group)
                if stopping.wait(0.05):
                    return

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield published
    finally:
        stopping.set()
        thread.join()


def test_a_new_champion_takes_over_while_bars_flow_and_no_bar_notices(
    own_stream: RunningStream, registry: Registry, tmp_path: Path, data_dir: Path
) -> None:
    file = data_dir / "btcusdt_binance_1m_10086rows_2024-12.csv.gz"
    bars = list(read_bars(file, "BTC-USDT", "1m"))[:2_000]
    minutes = [[bar, replace(bar, symbol="ETH-USDT")] for bar in bars]
    registry.promote(register(registry, tmp_path, seed=1))
    own_stream.publish(chain(*minutes[:100]))
    successor = register(registry, tmp_path, seed=2)

    def served(version: str) -> int:
        """Micro-batches that a version has predicted."""
        rows = own_stream.table("predictions")
        return int(rows.loc[rows["model_version"] == version, "batch_id"].nunique())

    with flowing(own_stream, iter(minutes[100:])) as published:
        assert wait_until(lambda: served("1m-1") >= 4, timeout_s=180)
        registry.promote(successor)
        assert wait_until(lambda: served("1m-2") >= 3, timeout_s=180)
        assert len(published) < 2 * len(minutes[100:]), "the bars ended before the test did"
    own_stream.process()

    rows = own_stream.table("predictions").sort_values(["batch_id", "as_of"])
    expected = {
        (bar.symbol, pd.Timestamp(bar.close_time, unit="ms", tz="UTC"), horizon)
        for bar in [*chain(*minutes[60:100]), *published]
        for horizon in (1, 5, 15)
    }
    assert set(rows[IDENTITY].itertuples(index=False, name=None)) == expected
    assert not rows.duplicated(IDENTITY).any()
    assert rows.groupby("batch_id")["model_version"].nunique().max() == 1
    versions = rows["model_version"]
    assert int((versions != versions.shift()).sum()) - 1 == 1


def test_a_model_of_before_is_served_with_its_own_horizons_and_so_is_its_successor(
    own_stream: RunningStream, registry: Registry, tmp_path: Path, btc: list[Bar]
) -> None:
    registry.promote(register(registry, tmp_path, seed=1))
    own_stream.publish(btc[:80])
    save_random_artifact(tmp_path / "five", seed=2, horizons=(1, 5, 15, 30, 60))
    registry.promote(registry.register(tmp_path / "five", "1m"))
    own_stream.publish(btc[80:90])
    rows = own_stream.table("predictions")
    made = rows.groupby("model_version")["horizon"].agg(lambda of: sorted(set(of)))
    assert made.to_dict() == {"1m-1": [1, 5, 15], "1m-2": [1, 5, 15, 30, 60]}


class Dies:
    """A sink behind which nothing is written."""

    def write(self, batch: MicroBatch) -> None:
        raise RuntimeError("died between the sinks")


def test_a_repeated_micro_batch_is_predicted_by_the_champion_that_it_was_begun_with(
    own_stream: RunningStream,
    registry: Registry,
    tmp_path: Path,
    btc: list[Bar],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry.promote(register(registry, tmp_path, seed=1))
    registry.set_interval_factors("1m-1", (1.5,) * 9)
    own_stream.publish(btc[:80])
    own_stream.stop()
    own_stream.queries.clear()

    sinks = query.all_sinks
    monkeypatch.setattr(query, "all_sinks", lambda s: [sinks(s)[0], Dies(), *sinks(s)[1:]])
    registry.set_interval_factors("1m-1", (3.0,) * 9)
    with pytest.raises(StreamingQueryException, match="died between"):
        own_stream.publish(btc[80:100])
    monkeypatch.undo()
    own_stream.queries.clear()
    registry.promote(register(registry, tmp_path, seed=2))
    own_stream.publish(btc[100:110])

    columns = ["as_of", "horizon", "model_version", "lower", "upper"]
    topic = own_stream.topic(own_stream.settings.kafka.predictions_topic)
    sent = pd.DataFrame([json.loads(message) for message in topic])[columns].drop_duplicates()
    stored = own_stream.table("predictions")[columns]
    stored["as_of"] = stored["as_of"].astype("datetime64[ms, UTC]").astype("int64")
    as_rows = [set(rows.itertuples(index=False, name=None)) for rows in (sent, stored)]
    assert as_rows[0] == as_rows[1]
    served = stored[stored["horizon"] == 1].sort_values("as_of")["model_version"].tolist()
    assert served == ["1m-1"] * 40 + ["1m-2"] * 10


@pytest.mark.parametrize("gone", ["damaged", "missing", "empty"])
def test_what_served_before_a_restart_serves_after_it_without_a_registry(
    own_stream: RunningStream,
    registry: Registry,
    mlflow_database: Path,
    tmp_path: Path,
    btc: list[Bar],
    gone: str,
) -> None:
    registry.promote(register(registry, tmp_path, seed=1))
    own_stream.publish(btc[:80])
    for file in tmp_path.glob("mlflow.db*"):
        file.unlink()
    if gone == "damaged":
        (tmp_path / "mlflow.db").write_bytes(b"no database")
    elif gone == "empty":
        shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    shutil.rmtree(tmp_path / "models")
    own_stream.publish(btc[80:90])
    own_stream.stop()
    own_stream.queries.clear()
    let_shipped_serve(own_stream.settings)
    if gone != "damaged":
        assert Registry.of(own_stream.settings.registry).champion("1m") is None
    own_stream.publish(btc[90:100])
    rows = own_stream.table("predictions")
    assert rows[rows["horizon"] == 1]["model_version"].tolist() == ["1m-1"] * 40
