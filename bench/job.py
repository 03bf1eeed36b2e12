"""This project's job as a user runs it: `spark-submit jobs/predict_stream.py`, by settings."""

import sys
import time
from pathlib import Path
from typing import Any, Self

from bench.series import PARTITIONS
from ingest.publish import ensure_topics
from jobs.machine.processes import Program


class Job:
    """One start of the stream: on a topic of bars, with warehouse and checkpoint of its own.

    A context manager, for as long as the job shall run. `cores` are the numbers of the processors
    it is pinned to, and as many task slots it has.
    """

    def __init__(
        self,
        broker: str,
        bars_topic: str,
        folder: Path,
        registry: dict[str, str],
        cores: tuple[int, ...] = (0, 1),
        spark_conf: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.broker = broker
        self.predictions_topic = f"{folder.name}-predictions"
        self._rejected_topic = f"{folder.name}-rejected"
        env = {
            "CANDLECAST_KAFKA__BOOTSTRAP_SERVERS": broker,
            "CANDLECAST_KAFKA__BARS_TOPIC": bars_topic,
            "CANDLECAST_KAFKA__PREDICTIONS_TOPIC": self.predictions_topic,
            "CANDLECAST_KAFKA__REJECTED_TOPIC": self._rejected_topic,
            "CANDLECAST_WAREHOUSE__DIR": str(folder / "warehouse"),
            "CANDLECAST_WAREHOUSE__CHECKPOINT_DIR": str(folder / "checkpoints"),
            "CANDLECAST_REGISTRY__TRACKING_URI": registry["tracking_uri"],
            "CANDLECAST_REGISTRY__ARTIFACT_DIR": registry["artifact_dir"],
            "CANDLECAST_STREAM__METRICS_PORT": "0",
        }
        self.program = spark_program("jobs/predict_stream.py", env, folder, cores, spark_conf)
        self.started_s = 0.0

    @property
    def predictions_table(self) -> Path:
        """Where it writes its predictions to in Parquet."""
        return self.folder / "warehouse/predictions"

    def __enter__(self) -> Self:
        """Create the topics for its output and start it."""
        topics = (self.predictions_topic, self._rejected_topic)
        ensure_topics(self.broker, dict.fromkeys(topics, PARTITIONS))
        self.started_s = time.time()
        self.program.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.program.stop()


def spark_program(
    script: str,
    env: dict[str, str],
    folder: Path,
    cores: tuple[int, ...],
    spark_conf: dict[str, str] | None = None,
    arguments: tuple[str, ...] = (),
) -> Program:
    """`spark-submit SCRIPT`, pinned to `cores`."""
    submit = str(Path(sys.executable).parent / "spark-submit")
    pinned = ["taskset", "-c", ",".join(map(str, cores))]
    conf = [f"--conf={name}={value}" for name, value in (spark_conf or {}).items()]
    command = [*pinned, submit, f"--master=local[{len(cores)}]", *conf, script, *arguments]
    python = {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    return Program(folder.name, command, {**python, **env}, folder / "log")
