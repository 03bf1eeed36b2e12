"""`kill -9` in the middle of a replay: the next start makes the tables whole."""

from collections import Counter
from itertools import chain
from pathlib import Path

import pandas as pd

from conf.settings import Registry as RegistrySettings
from conf.settings import Settings
from ingest.publish import BarPublisher
from ingest.sources.recorded import read_bars
from jobs.broker import EmbeddedBroker
from jobs.demo.report import parquet_rows
from jobs.processes import Program, spark_submit, wait_until
from tests.jobs.predictions import assert_same_predictions, batch_predictions
from tests.streams import stream_settings

KILLS = 2
TIMEOUT_S = 180


def environment(settings: Settings) -> dict[str, str]:
    """The settings as a person would give them to `spark-submit`."""
    return {
        "CANDLECAST_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "CANDLECAST_KAFKA__BARS_TOPIC": settings.kafka.bars_topic,
        "CANDLECAST_KAFKA__REJECTED_TOPIC": settings.kafka.rejected_topic,
        "CANDLECAST_KAFKA__PREDICTIONS_TOPIC": settings.kafka.predictions_topic,
        "CANDLECAST_WAREHOUSE__DIR": settings.warehouse.dir,
        "CANDLECAST_WAREHOUSE__CHECKPOINT_DIR": settings.warehouse.checkpoint_dir,
        "CANDLECAST_REGISTRY__TRACKING_URI": settings.registry.tracking_uri,
        "CANDLECAST_REGISTRY__ARTIFACT_DIR": settings.registry.artifact_dir,
        "CANDLECAST_STREAM__MAX_BARS_PER_MICRO_BATCH": "250",
        "CANDLECAST_STREAM__METRICS_PORT": "0",
    }


def predict_stream(settings: Settings, folder: Path) -> Program:
    return spark_submit("jobs/predict_stream.py", environment(settings), folder / "stream.log")


def test_a_stream_killed_twice_writes_what_an_undisturbed_one_writes(
    broker: EmbeddedBroker,
    topic_prefix: str,
    tmp_path: Path,
    champion_registry: RegistrySettings,
    data_dir: Path,
) -> None:
    settings = stream_settings(broker, topic_prefix, tmp_path, champion_registry)
    names = {"BTC-USD": "btcusd", "ETH-USD": "ethusd"}
    files = {s: data_dir / f"{n}_cryptocompare_cccagg_1m_2017-12.csv.gz" for s, n in names.items()}
    series = [list(read_bars(file, symbol, "1m"))[-500:] for symbol, file in files.items()]
    bars = list(chain(*series))
    with BarPublisher(broker.bootstrap_servers, settings.kafka.bars_topic) as publisher:
        publisher.publish(bars)
    warehouse = Path(settings.warehouse.dir)

    for _ in range(KILLS):
        before = parquet_rows(warehouse, "bars")
        stream = predict_stream(settings, tmp_path).start()
        assert wait_until(
            lambda seen=before: parquet_rows(warehouse, "bars") > seen, TIMEOUT_S, stream.check
        )
        stream.kill()
        assert parquet_rows(warehouse, "bars") < len(bars)

    with predict_stream(settings, tmp_path) as stream:
        assert wait_until(
            lambda: parquet_rows(warehouse, "bars") >= len(bars), TIMEOUT_S, stream.check
        )
        stream.stop()

    assert_same_predictions(
        pd.read_parquet(warehouse / "predictions"), batch_predictions(bars, champion_registry)
    )
    archived = pd.read_parquet(warehouse / "bars")
    assert Counter(zip(archived["symbol"], archived["open_time"], strict=True)) == Counter(
        (bar.symbol, pd.Timestamp(bar.open_time, unit="ms", tz="UTC")) for bar in bars
    )
