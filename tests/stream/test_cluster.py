"""The same job on a Spark cluster: a master, two workers, a broker with four partitions."""

import json
import sys
import sysconfig
import tarfile
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from conf.settings import Registry as RegistrySettings
from conf.settings import Warehouse
from ingest.bar import Bar
from ingest.publish import BarPublisher, ensure_topics
from jobs.demo.report import parquet_rows
from jobs.machine.broker import EmbeddedBroker, free_port
from jobs.machine.pack import build_code
from jobs.machine.processes import Program, spark_submit, wait_until
from tests.stream.predictions import assert_same_predictions, batch_predictions
from tests.streams import environment, stream_settings

WORKERS = 2
TIMEOUT_S = 180


@dataclass
class Cluster:
    """A standalone master with its workers, each a process of its own."""

    url: str
    page: str
    work_dirs: list[Path]

    def workers(self) -> list[dict[str, Any]]:
        """What the master says of each worker that is alive."""
        with urllib.request.urlopen(f"{self.page}/json/", timeout=10) as answer:
            return [w for w in json.load(answer)["workers"] if w["state"] == "ALIVE"]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    port, page_port = free_port(), free_port()
    work_dirs = [tmp_path / f"worker-{n}" for n in range(WORKERS)]
    running = Cluster(f"spark://127.0.0.1:{port}", f"http://127.0.0.1:{page_port}", work_dirs)
    with ExitStack() as stack:
        ports = ["--host", "127.0.0.1", "--port", str(port), "--webui-port", str(page_port)]
        master = stack.enter_context(spark_class("master.Master", ports, tmp_path / "master.log"))
        for folder in work_dirs:
            given = ["--host", "127.0.0.1", "--cores", "1", "--memory", "1g"]
            given += ["--webui-port", "0", "--work-dir", str(folder), running.url]
            log = folder.with_suffix(".log")
            stack.enter_context(spark_class("worker.Worker", given, log))
        assert wait_until(lambda: has_workers(running), TIMEOUT_S, master.check)
        yield running


def spark_class(name: str, arguments: list[str], log: Path) -> Program:
    """One of Spark's own daemons; what its children import is theirs to find."""
    command = [str(Path(sys.executable).parent / "spark-class")]
    env = {"SPARK_DAEMON_MEMORY": "256m", "SPARK_LOCAL_IP": "127.0.0.1", "PYTHONPATH": ""}
    return Program(name, [*command, f"org.apache.spark.deploy.{name}", *arguments], env, log)


def has_workers(cluster: Cluster) -> bool:
    try:
        return len(cluster.workers()) == WORKERS
    except (OSError, ValueError):  # nothing listens yet, or only the page of a master that starts
        return False


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
        environment(settings) | {"PYSPARK_PYTHON": "./environment/bin/python"},
        tmp_path / "stream.log",
        [
            *("--master", cluster.url, "--driver-memory", "512m", "--executor-memory", "512m"),
            *("--conf", "spark.executor.cores=1", "--conf", "spark.driver.host=127.0.0.1"),
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
