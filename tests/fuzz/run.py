"""One run of the fuzz: broker, the real job, messages, and the memory that the job takes."""

import json
import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kafka import KafkaProducer
from rich.console import Console
from rich.table import Table

from conf.events import event
from conf.sections import Kafka, Market, Stream
from conf.settings import Settings
from jobs.demo.report import parquet_rows
from jobs.machine.broker import EmbeddedBroker
from jobs.machine.processes import Program, spark_submit, wait_until
from tests.artifacts import random_champion
from tests.fuzz.account import Account, Place, account, rejections, rows_of
from tests.fuzz.memory import GROWTH, MEGABYTE, Memory
from tests.fuzz.messages import PLAIN, messages
from tests.streams import environment, messages_written, stream_settings

log = logging.getLogger(__name__)

PARTITIONS: Final = 2
MICRO_BATCH: Final = 10_000
# Unacknowledged messages of the producer, so that a million need no million futures.
PENDING: Final = 20_000
SAMPLE_S: Final = 1.0
TIMEOUT_S: Final = 3_600.0


@dataclass
class FuzzReport:
    """`reports/fuzz.json`."""

    seed: int
    account: Account
    memory: Memory
    predictions: int
    seconds: float

    @property
    def good(self) -> bool:
        """Whether every message was accounted for, within bounded memory."""
        return self.account.good and all(g <= GROWTH for g in self.memory.growth().values())

    def as_dict(self) -> dict[str, object]:
        """The report as JSON has it; of the memory, every so many samples."""
        step = max(1, len(self.memory.messages) // 50)
        curve = {name: values[::step] for name, values in vars(self.memory).items()}
        return {
            "seed": self.seed,
            **vars(self.account),
            "predictions": self.predictions,
            "seconds": round(self.seconds, 1),
            "memory_growth": self.memory.growth(),
            "memory": curve,
        }

    def save(self, file: Path) -> None:
        """Write it as JSON."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(self.as_dict(), indent=2) + "\n")

    def print(self, console: Console) -> None:
        """Show the balance as a table, and the reasons."""
        table = Table("", "value", title=f"fuzz, seed {self.seed}")
        for name, value in self.as_dict().items():
            if not isinstance(value, dict):
                table.add_row(name, str(value))
        for name, growth in self.memory.growth().items():
            table.add_row(f"{name}, last third over second", str(growth))
        console.print(table)
        reasons = Table("reason", "messages")
        for reason, count in self.account.reasons.most_common():
            reasons.add_row(reason, str(count))
        console.print(reasons)


def run_fuzz(folder: Path, count: int, seed: int, leaders: bool = False) -> FuzzReport:
    """Send `count` messages to the real job and account for each; with `leaders` two of the symbols
    lead the others.

    Raises ProgramEnded where the stream stops.
    """
    started_at = time.monotonic()
    memory, market = Memory(), Market(leaders=PLAIN[:2] if leaders else [])
    with EmbeddedBroker(folder / "broker") as broker:
        champion = random_champion(folder, market if leaders else None, PLAIN)
        settings = stream_settings(broker, "fuzz", folder, champion)
        stream = Stream(max_bars_per_micro_batch=MICRO_BATCH, metrics_port=0)
        settings = settings.model_copy(update={"stream": stream, "market": market})
        event(log, "sending", messages=count)
        send(settings.kafka, messages(count, seed))
        with spark_submit("jobs/predict_stream.py", environment(settings), folder / "log") as job:
            await_written(settings, count, job, memory)
        now_ms = time.time_ns() // 1_000_000
        event(log, "accounting")
        kafka = settings.kafka
        found = account(
            placed(messages(count, seed)),
            rejections(kafka.bootstrap_servers, kafka.rejected_topic),
            rows_of(settings.warehouse.dir),
            now_ms,
        )
    predictions = parquet_rows(Path(settings.warehouse.dir), "predictions")
    return FuzzReport(seed, found, memory, predictions, time.monotonic() - started_at)


def placed(sent: Iterable[bytes | None]) -> Iterator[tuple[Place, bytes | None]]:
    """Each message with the place that `send` gives it: the partitions in turn."""
    for number, message in enumerate(sent):
        yield (number % PARTITIONS, number // PARTITIONS), message


def send(kafka: Kafka, sent: Iterable[bytes | None]) -> None:
    """Publish to a new topic, so that each message has the offset that `placed` says."""
    pending: deque[Any] = deque()
    producer = KafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers,
        linger_ms=50,
        batch_size=MEGABYTE // 2,
        max_request_size=2 * MEGABYTE,
        enable_idempotence=True,
    )
    with producer:
        for (partition, _), message in placed(sent):
            # kafka-python wants a key where there is no value
            sent_one = producer.send(kafka.bars_topic, message, b"any", partition=partition)
            pending.append(sent_one)
            if len(pending) > PENDING:
                pending.popleft().get(60)
        for future in pending:
            future.get(60)


def await_written(settings: Settings, count: int, job: Program, memory: Memory) -> None:
    """Wait until the stream has written everything, looking at its memory now and then."""
    sampled_at = 0.0

    def done() -> bool:
        nonlocal sampled_at
        written = messages_written(settings, -(-count // PARTITIONS))
        if written and time.monotonic() - sampled_at > SAMPLE_S:
            sampled_at = time.monotonic()
            memory.sample(job.pid, written)
        return written >= count

    assert wait_until(done, TIMEOUT_S, job.check), f"the stream did not write everything: {job.log}"
    memory.sample(job.pid, count)
