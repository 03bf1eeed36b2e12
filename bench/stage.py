"""What stands while contenders come and go: one broker, the networks, the topics of bars."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from kafka import KafkaAdminClient

from bench.networks import registry_settings, write_networks
from bench.series import PARTITIONS
from conf.errors import MissingPrerequisite
from ingest.publish import ensure_topics
from jobs.machine.broker import EmbeddedBroker
from jobs.machine.processes import PROJECT_DIR

CONTENDERS_PYTHON: Final = PROJECT_DIR / "bench/.envs/contenders/bin/python"


class Stage:
    """A context manager; everything lies in a temporary folder that goes with it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="candlecast-bench-"))
        self._broker = EmbeddedBroker(self.folder / "broker")
        self._topics: set[str] = set()

    def __enter__(self) -> Self:
        if not CONTENDERS_PYTHON.exists():
            raise MissingPrerequisite("the contenders' environment is missing: run `make bench`")
        write_networks(self.networks)
        self._broker.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._broker.stop()
        if exc is None:
            shutil.rmtree(self.folder)
        else:
            print(f"the logs lie in {self.folder}", file=sys.stderr)

    @property
    def broker(self) -> str:
        """Where the broker listens."""
        return self._broker.bootstrap_servers

    @property
    def networks(self) -> Path:
        """The folder of the networks."""
        return self.folder / "networks"

    def registry(self, network: str) -> dict[str, str]:
        """The settings of the registry in which `network` is champion."""
        return registry_settings(self.networks, network)

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
            feed(self.broker, topic, n_symbols, minutes)
        return topic


def feed(broker: str, topic: str, n_symbols: int, minutes: int) -> None:
    """Publish the bars of `bench.series`, and return once all are acknowledged."""
    command = [str(CONTENDERS_PYTHON), "-m", "bench.contenders.feed", broker, topic]
    subprocess.run([*command, str(n_symbols), str(minutes)], cwd=PROJECT_DIR, check=True)
