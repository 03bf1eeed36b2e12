"""The same job on a Spark cluster: a master, two workers, a broker with four partitions."""

import sysconfig
import tarfile
import venv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from conf.sections import Registry as RegistrySettings
from conf.sections import Warehouse
from ingest.bar import Bar
from ingest.publish import BarPublisher
from ingest.topics import ensure_topics
from jobs.demo.report import parquet_rows
from jobs.machine.broker import EmbeddedBroker
from jobs.machine.pack import build_code
from jobs.machine.processes import spark_submit, wait_until
from tests.cluster import Cluster, cheap_options
from tests.predictions import assert_same_predictions, batch_predictions
from tests.streams import environment, stream_settings

TIMEOUT_S = 180


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    # What a worker's children import is theirs to find.
    with Cluster(tmp_path, {"PYTHONPATH": ""}, workers=2, cores=1) as running:
        yield running


def packed_environment(folder: Path) -> Path:
    """`folder`/environment, packed: it borrows this one's packages, so there are no gigabytes.

    Only packages: the project itself is not among them, since a path file's own path files are
    not followed.
    """
    made = folder / "environment"
    venv.create(made, symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(made)}))
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    archive = folder / "environment.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(made, ".")
    return archive


def test_a_cluster_predicts_what_a_batch_predicts(
    cluster: Cluster,
    broker: EmbeddedBroker,
    topic_prefix: str,
    tmp_path: Path,
    champion_registry: RegistrySettings,
    btc: list[Bar],
) -> None:
    ensure_topics(broker.connection, {f"{topic_prefix}-bars": 4})
    settings = stream_settings(broker, topic_prefix, tmp_path, champion_registry)
    settings = settings.model_copy(
        update={
            "warehouse": Warehouse(
                dir=(tmp_path / "warehouse").as_uri(),
                checkpoint_dir=(tmp_path / "checkpoints").as_uri(),
            )
        }
    )
    bars = [replace(bar, symbol=f"C{n}-USDT") for bar in btc for n in range(8)]
    with BarPublisher(settings.kafka, settings.kafka.bars_topic) as publisher:
        publisher.publish(bars)
    expected = batch_predictions(bars, champion_registry)

    submitted = spark_submit(
        "jobs/predict_stream.py",
        environment(settings) | {"PYSPARK_PYTHON": "./environment/bin/python"} | cluster.login,
        tmp_path / "stream.log",
        [
            *cheap_options(cluster.url),
            *("--py-files", str(build_code(tmp_path))),
            *("--conf", "spark.executorEnv.PYTHONPATH=candlecast.zip"),
            *("--archives", f"{packed_environment(tmp_path)}#environment"),
        ],
        tmp_path,  # where the driver, too, finds ./environment
    )
    with submitted:
        assert wait_until(
            lambda: parquet_rows(tmp_path / "warehouse", "predictions") >= len(expected),
            TIMEOUT_S,
            submitted.check,
        )
        used = [worker["coresused"] for worker in cluster.workers()]
        submitted.stop()
    assert used == [1, 1]
    assert_same_predictions(pd.read_parquet(tmp_path / "warehouse" / "predictions"), expected)
    for folder in cluster.work_dirs:
        assert len(list(folder.glob("app-*/*/candlecast.zip"))) == 1
        assert len(list(folder.glob("app-*/*/environment/bin/python"))) == 1
