"""What stands while contenders come and go: one broker, the networks, the topics of bars."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, Self

from kafka import KafkaAdminClient

from bench.job import CORES, SparkJob
from bench.networks import registry_settings, write_networks
from bench.series import HORIZONS, PARTITIONS, random_walk
from conf.errors import MissingPrerequisite
from ingest.publish import BarPublisher
from ingest.topics import ensure_topics
from jobs.machine.broker import EmbeddedBroker
from jobs.machine.processes import PROJECT_DIR

CONTENDERS_PYTHON: Final = PROJECT_DIR / "bench/.envs/contenders/bin/python"
NETWORK: Final = "lstm32"


class Stage:
    """A context manager; everything lies in a temporary folder that goes with it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="candlecast-bench-"))
        self.networks = self.folder / "networks"
        self._broker = EmbeddedBroker(self.folder / "broker")
        self._topics: set[str] = set()

    def __enter__(self) -> Self:
        write_networks(self.networks)
        self._broker.start()
        return self

    def __exit__(self, exc_type: object, *_: object) -> None:
        self._broker.stop()
        if exc_type is None:
            shutil.rmtree(self.folder)
        else:
            print(f"the logs lie in {self.folder}", file=sys.stderr)

    @property
    def broker(self) -> str:
        """Where the broker listens."""
        return self._broker.bootstrap_servers

    def job(
        self,
        name: str,
        bars_topic: str,
        network: str = NETWORK,
        cores: tuple[int, ...] = CORES,
        watch_cpu: bool = False,
    ) -> SparkJob:
        """The stream on a topic of bars, with output topic, warehouse and checkpoint of its own."""
        folder, output = self.folder / name, f"{name}-predictions"
        registry = registry_settings(self.networks, network)
        env = {
            "CANDLECAST_KAFKA__BOOTSTRAP_SERVERS": self.broker,
            "CANDLECAST_KAFKA__BARS_TOPIC": bars_topic,
            "CANDLECAST_KAFKA__PREDICTIONS_TOPIC": output,
            "CANDLECAST_WAREHOUSE__DIR": str(folder / "warehouse"),
            "CANDLECAST_WAREHOUSE__CHECKPOINT_DIR": str(folder / "checkpoints"),
            "CANDLECAST_REGISTRY__TRACKING_URI": registry["tracking_uri"],
            "CANDLECAST_REGISTRY__ARTIFACT_DIR": registry["artifact_dir"],
            "CANDLECAST_STREAM__METRICS_PORT": "0",
        }
        script, topics = "jobs/predict_stream.py", (bars_topic, output)
        return SparkJob(
            script, self.broker, topics, len(HORIZONS), folder, env, (), cores, watch_cpu
        )

    def passthrough(self, name: str, fetch_wait_ms: int) -> SparkJob:
        """Spark alone, bars to bars, on topics of its own."""
        folder = self.folder / name
        topics = (f"{name}-bars", name)
        arguments = (self.broker, *topics, str(folder / "checkpoint"), str(fetch_wait_ms))
        script = "bench/contenders/passthrough.py"
        return SparkJob(script, self.broker, topics, 1, folder, arguments=arguments)

    def pin_broker(self, cores: tuple[int, ...]) -> None:
        """Confine the broker to some processors, as on a machine that has no others."""
        for thread in Path(f"/proc/{self._broker.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores)

    def forget(self, topic: str) -> None:
        """Delete a topic of outputs and the folder of its contender: a run fills gigabytes."""
        with KafkaAdminClient(bootstrap_servers=self.broker) as admin:
            admin.delete_topics([topic])
        shutil.rmtree(self.folder / topic.removesuffix("-predictions"), ignore_errors=True)

    def bars_topic(self, n_symbols: int, minutes: int) -> str:
        """A topic with so many bars, filled at the first call."""
        topic = f"bars-{n_symbols}x{minutes}"
        if topic not in self._topics:
            self._topics.add(topic)
            ensure_topics(self.broker, {topic: PARTITIONS})
            self.feed(topic, n_symbols, minutes)
        return topic

    def feed(self, topic: str, n_symbols: int, minutes: int) -> None:
        """Publish the bars of `bench.series`, and return once all are acknowledged."""
        with BarPublisher(self.broker, topic) as publisher:
            publisher.publish(bar for bars in random_walk(n_symbols, minutes) for bar in bars)


def run_contender(module: str, *arguments: str) -> str:
    """Run a module of `bench.contenders` in the contenders' environment; what it printed.

    Raises MissingPrerequisite where that environment is missing.
    """
    if not CONTENDERS_PYTHON.exists():
        raise MissingPrerequisite("the contenders' environment is missing: run `make bench`")
    command = [str(CONTENDERS_PYTHON), "-m", f"bench.contenders.{module}", *arguments]
    done = subprocess.run(command, cwd=PROJECT_DIR, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout
