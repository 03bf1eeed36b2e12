"""A Spark standalone cluster of a master and its workers, each a process of its own."""

import json
import urllib.request
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

import pyspark

from conf.ports import free_ports
from jobs.machine.processes import Program, wait_until

START_TIMEOUT_S: Final = 120
# Short-lived JVMs: the second compiler and a parallel collector would cost more than they give.
CHEAP_JVM: Final = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


def cheap_options(master: str) -> list[str]:
    """Options of `spark-submit` for a small driver and small executors, which start fast."""
    options = {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "640m",
        "spark.driver.extraJavaOptions": CHEAP_JVM,
        "spark.executor.cores": "1",
        "spark.executor.memory": "512m",
        "spark.executor.extraJavaOptions": CHEAP_JVM,
    }
    pairs = [("--conf", f"{name}={value}") for name, value in options.items()]
    return ["--master", master, *(part for pair in pairs for part in pair)]


class Cluster:
    """Master and workers on loopback ports; executors come and go with the jobs that want them.

    A `with` block: the cluster is up inside it, and gone with its executors after it.
    `env` is what the workers' programs are started with; `login` what a driver needs in its own
    environment.
    """

    def __init__(
        self, folder: Path, env: Mapping[str, str], workers: int = 1, cores: int = 2
    ) -> None:
        port, page_port = free_ports(2)
        self._conf = folder / "cluster.conf"
        self._secret = uuid.uuid4().hex
        self.url = f"spark://127.0.0.1:{port}"
        self.work_dirs = [folder / f"worker-{number}" for number in range(workers)]
        self._page = f"http://127.0.0.1:{page_port}"
        self._env = {
            **env,
            "SPARK_DAEMON_MEMORY": "192m",
            "SPARK_DAEMON_JAVA_OPTS": CHEAP_JVM,
            "SPARK_LOCAL_IP": "127.0.0.1",
        }
        self._master = self._daemon(
            "master.Master",
            ["--port", str(port), "--webui-port", str(page_port)],
            folder / "master.log",
        )
        self._workers = [
            self._daemon(
                "worker.Worker",
                [
                    *("--cores", str(cores), "--memory", f"{cores}g", "--webui-port", "0"),
                    *("--work-dir", str(work_dir), self.url),
                ],
                work_dir.with_suffix(".log"),
            )
            for work_dir in self.work_dirs
        ]
        self._running = ExitStack()

    @property
    def programs(self) -> list[Program]:
        return [self._master, *self._workers]

    @property
    def login(self) -> dict[str, str]:
        return {"CANDLECAST_SPARK_SECRET": self._secret}

    def __enter__(self) -> Self:
        self._conf.write_text(
            f"spark.authenticate true\nspark.authenticate.secret {self._secret}\n"
        )
        with self._running as running:
            for program in self.programs:
                running.enter_context(program)
            up = wait_until(self._is_up, START_TIMEOUT_S, self._master.check)
            assert up, f"the cluster did not come up; see {self._master.log}"
            self._running = running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def workers(self) -> list[dict[str, Any]]:
        """What the master says of each worker that is alive."""
        with urllib.request.urlopen(f"{self._page}/json/", timeout=60) as answer:
            return [w for w in json.load(answer)["workers"] if w["state"] == "ALIVE"]

    def _is_up(self) -> bool:
        try:
            return len(self.workers()) == len(self._workers)
        except (OSError, ValueError):  # nothing listens yet, or a master that has just begun
            return False

    def _daemon(self, name: str, arguments: list[str], log: Path) -> Program:
        """One of Spark's own programs, in the foreground."""
        spark_class = str(Path(pyspark.__file__).parent / "bin" / "spark-class")
        command = [spark_class, f"org.apache.spark.deploy.{name}", "--host", "127.0.0.1"]
        given = [*arguments, "--properties-file", str(self._conf)]
        return Program(name, [*command, *given], self._env, log)
