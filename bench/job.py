"""A stream by `spark-submit`, as a user starts it: pinned to cores, and watched from outside."""

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

from bench.series import PARTITIONS
from bench.timeline import Timeline
from ingest.bar import Bar
from ingest.publish import BarPublisher
from ingest.topics import ensure_topics
from jobs.machine.processes import spark_submit

CORES: Final = (0, 1)


class SparkJob:
    """A job that reads bars from one topic and writes `messages_per_bar` of each to another.

    A context manager: the job runs inside it. `cores` are the numbers of the processors that it
    is pinned to; it has as many task slots. `expected` is how many messages its output holds once
    it has answered all bars so far.
    """

    def __init__(
        self,
        script: str,
        broker: str,
        topics: tuple[str, str],
        messages_per_bar: int,
        folder: Path,
        env: dict[str, str] | None = None,
        arguments: Sequence[str] = (),
        cores: tuple[int, ...] = CORES,
        watch_cpu: bool = False,
    ) -> None:
        self.bars_topic, self.output_topic = topics
        self.folder = folder
        self.messages_per_bar = messages_per_bar
        self.expected = 0
        self.started_s = 0.0
        options = [f"--master=local[{len(cores)}]"]
        self.program = spark_submit(script, env or {}, folder / "log", options, arguments=arguments)
        self.publisher = BarPublisher(broker, self.bars_topic)  # connects when it is used
        self.timeline: Timeline
        self._broker = broker
        self._cores = cores
        self._watch_cpu = watch_cpu
        self._running = ExitStack()

    @property
    def predictions_table(self) -> Path:
        """Where the stream writes its predictions as Parquet."""
        return self.folder / "warehouse/predictions"

    def __enter__(self) -> Self:
        """Create the topics and start the job."""
        topics = (self.bars_topic, self.output_topic)
        ensure_topics(self._broker, dict.fromkeys(topics, PARTITIONS))
        self.started_s = time.time()
        with self._running as running:
            running.enter_context(self.program)
            # Before Java counts its processors, and inherited by all that the program starts.
            os.sched_setaffinity(self.program.pid, self._cores)
            pids = [self.program.pid] if self._watch_cpu else []
            self.timeline = running.enter_context(Timeline(self._broker, self.output_topic, pids))
            running.callback(self.publisher.close)
            self._running = running.pop_all()
        return self

    def __exit__(self, *_: Any) -> None:
        self._running.close()

    def wait_for(self, messages: int, timeout_s: float) -> None:
        """Return once the output holds so many messages; raises ContenderStuck or ProgramEnded."""
        self.timeline.wait_for(messages, timeout_s, self.program.check)

    def await_answers(self, bars: int, timeout_s: float) -> None:
        """Return once the messages of so many more bars can be read."""
        self.expected += bars * self.messages_per_bar
        self.wait_for(self.expected, timeout_s)

    def answer(self, bars: list[Bar], timeout_s: float) -> float:
        """Publish a group of bars; seconds until all its messages can be read."""
        begun = time.monotonic()
        self.publisher.publish(bars)
        self.await_answers(len(bars), timeout_s)
        return time.monotonic() - begun
