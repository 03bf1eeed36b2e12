"""A Spark standalone cluster of one master and one worker, each a process of its own."""

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pyspark

from jobs.machine.broker import free_port, is_free
from jobs.machine.processes import Program, wait_until

EXECUTORS: Final = 2
START_TIMEOUT_S: Final = 60
# Short-lived JVMs: the second compiler and a parallel collector would cost more than they give.
CHEAP_JVM: Final = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


def cheap_options(master: str) -> list[str]:
    """What `spark-submit` is given: a small driver and small executors, which start fast."""
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
    """Master and worker on loopback ports; executors come and go with the jobs that ask for them.

    A `with` block: the cluster is up inside it, and gone with its executors after it.
    """

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._master_port, self._worker_port = free_port(), free_port()
        self.url = f"spark://127.0.0.1:{self._master_port}"
        cheap = {
            **env,
            "SPARK_DAEMON_MEMORY": "192m",
            "SPARK_DAEMON_JAVA_OPTS": CHEAP_JVM,
            "PYSPARK_PYTHON": sys.executable,
        }
        local = ["--host", "127.0.0.1", "--webui-port", "0", "--port"]
        master = ["master.Master", *local, str(self._master_port)]
        worker = ["worker.Worker", *local, str(self._worker_port), "--cores", str(EXECUTORS)]
        worker += ["--memory", "2g", "--work-dir", str(folder / "work"), self.url]
        self._master = daemon("master", master, cheap, folder)
        self._worker = daemon("worker", worker, cheap, folder)
        self._running = ExitStack()

    def __enter__(self) -> Self:
        ports = {self._master_port: self._master, self._worker_port: self._worker}
        for port, program in ports.items():
            self._running.enter_context(program)
            up = wait_until(lambda port=port: not is_free(port), START_TIMEOUT_S, program.check)
            assert up, f"{program.name} did not come up; see {program.log}"
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._running.close()


def daemon(name: str, arguments: list[str], env: dict[str, str], folder: Path) -> Program:
    """One of Spark's own programs, in the foreground."""
    spark_class = Path(pyspark.__file__).parent / "bin" / "spark-class"
    module, *rest = arguments
    command = [str(spark_class), f"org.apache.spark.deploy.{module}", *rest]
    return Program(name, command, env, folder / f"{name}.log")
