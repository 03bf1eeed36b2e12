"""The whole stream as it runs in earnest, and a supervisor that starts again what ended."""

import json
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaConnectionError, RetriableError

from conf.sections import Kafka, Market, Stream, Warehouse, Window
from conf.settings import Settings
from ingest.bar import Bar
from ingest.sources.synthetic import synthetic_symbols
from ingest.topics import ensure_topics
from ingest.wake import read_wake
from jobs.machine.broker import EmbeddedBroker
from jobs.machine.processes import Program, candlecast, spark_submit, wait_until
from jobs.run import Kept
from tests.artifacts import random_champion
from tests.chaos.small_disk import SmallDisk
from tests.cluster import Cluster, cheap_options
from tests.streams import environment, messages_written, read_topic

SYMBOLS: Final = synthetic_symbols(4)
FROM: Final = datetime(2024, 1, 1, tzinfo=UTC)
BACKFILL_MINUTES: Final = 120
# Market minutes a second: a micro-batch has some bars of every symbol, and a run some days of them.
SPEED: Final = 30
NEVER: Final = "2026-01-01"
# A supervisor's backoff is for programs that fail by themselves; these are killed.
PAUSE_S: Final = 0.1
PARTITIONS: Final = 2
SHARDS: Final = 2
SETTLE_S: Final = 180.0
# Scoring and retraining do all that they do, and change nothing that the stream predicts: so it can
# be held to a plain pass over the bars.
AT_WORK: Final = {
    "CANDLECAST_TRAINING__MAX_EPOCHS": "1",
    "CANDLECAST_TRAINING__MEMBERS": "2",
    "CANDLECAST_TRAINING__UNITS": "4",
    "CANDLECAST_PROMOTION__LEVEL": "1e-9",
    "CANDLECAST_INTERVALS__ADAPT_RATE": "1e-9",
    "CANDLECAST_INGEST__INTERVALS": '["1m"]',
    "CANDLECAST_INGEST__SYMBOLS": json.dumps(SYMBOLS),
    "CANDLECAST_SCORE__METRICS_PORT": "0",
}


class Unrecovered(Exception):
    """Something did not come back by itself; the message says what was waited for."""


class World:
    """Broker, ingest and stream in `folder`; `look` is what keeps them alive.

    `master` is Spark's, such as `local[2,4]`; None is a cluster of our own, with executors that
    can be killed apart from the driver. A `with` block: everything runs inside it, and nothing is
    left of it afterwards. With `leaders` the first two symbols lead, and the champion reads them.
    """

    def __init__(self, folder: Path, master: str | None = None, leaders: bool = False) -> None:
        self.folder = folder.resolve()
        self.broker = EmbeddedBroker(self.folder / "broker")
        self.disk = SmallDisk(self.folder / "warehouse")
        market = Market(leaders=SYMBOLS[:2] if leaders else [])
        self.settings = Settings(
            kafka=Kafka(bootstrap_servers=self.broker.bootstrap_servers, partitions=PARTITIONS),
            warehouse=Warehouse(
                dir=str(self.disk.folder), checkpoint_dir=str(self.folder / "checkpoints")
            ),
            window=Window(shards=SHARDS),
            stream=Stream(metrics_port=0),
            market=market,
            registry=random_champion(self.folder, market if leaders else None, SYMBOLS),
        )
        self.master = master or "a cluster of two executors"
        self.killed: Counter[str] = Counter()
        reports = {"CANDLECAST_WAREHOUSE__REPORTS_DIR": str(self.folder / "reports")}
        self.env = {**environment(self.settings), **AT_WORK, **reports}
        python = {"PYSPARK_PYTHON": sys.executable}
        self._cluster = None if master else Cluster(self.folder, {**self.env, **python})
        options = cheap_options(self._cluster.url if self._cluster else str(master))
        log = self.folder / "stream.log"
        env = self.env | (self._cluster.login if self._cluster else {})
        self.stream = Kept(spark_submit("jobs/predict_stream.py", env, log, options))
        self.ingest = Kept(self._ingest(NEVER, SPEED))
        self._pool = ThreadPoolExecutor(1)
        self._broker_start: Future[EmbeddedBroker] | None = None
        self._running = ExitStack()
        self._keep_ingest = False
        self.keep_stream = True

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._running.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _start(self) -> None:
        self._running.enter_context(self.disk)
        self._running.callback(self.broker.stop)
        self.broker.start()
        kafka = self.settings.kafka
        topics = (kafka.bars_topic, kafka.rejected_topic, kafka.predictions_topic)
        ensure_topics(kafka.bootstrap_servers, dict.fromkeys(topics, kafka.partitions))
        if self._cluster:
            self._running.enter_context(self._cluster)
        self._running.callback(self._pool.shutdown)
        self._running.callback(self.stream.program.stop)
        self._running.callback(self.ingest.program.stop)
        self.ingest_until(FROM.timestamp() + BACKFILL_MINUTES * 60)
        self._keep_ingest = True

    def _ingest(self, until: str, speed: int | str) -> Program:
        arguments = ["--source", "synthetic", "--symbols", ",".join(SYMBOLS), "--interval", "1m"]
        arguments += ["--from", FROM.isoformat(), "--until", until, "--speed", str(speed)]
        return candlecast("ingest", arguments, self.env, self.folder / "ingest.log")

    @property
    def models(self) -> Path:
        """Where the registry keeps its artifacts."""
        return Path(self.settings.registry.artifact_dir)

    def own_groups(self) -> set[int]:
        """The process groups that the world keeps alive beside the stream."""
        cluster = self._cluster.programs if self._cluster else []
        return {one.pid for one in (self.ingest.program, *cluster) if one.running}

    @property
    def has_executors(self) -> bool:
        """Whether there are executors apart from the driver."""
        return self._cluster is not None

    def look(self) -> None:
        """Start again what has ended.

        Raises Stop where a program's exit code says that a person has to act.
        """
        self._look_at_broker()
        now = datetime.now(UTC).timestamp()
        kept_alive = (self.stream, self.keep_stream), (self.ingest, self._keep_ingest)
        for kept in (one for one, wanted in kept_alive if wanted):
            kept.pause_s = PAUSE_S
            kept.look(now)

    def _look_at_broker(self) -> None:
        if self._broker_start is not None and self._broker_start.done():
            self._broker_start.result()
            self._broker_start = None
        if self.broker.pid is None and self._broker_start is None:
            self._broker_start = self._pool.submit(self.broker.start)

    def wait(self, what: str, done: Callable[[], bool], timeout_s: float = SETTLE_S) -> None:
        """Keep everything alive until `done`; raises Unrecovered where that takes too long."""
        if not wait_until(done, timeout_s, self.look):
            raise Unrecovered(f"{what} took more than {timeout_s:.0f} s; see {self.folder}")

    def published_when_up(self) -> int:
        """How many messages the topic of the bars holds, as soon as the broker answers."""
        answers: list[int] = []

        def answered() -> bool:
            count = self.published()
            answers.extend([] if count is None else [count])
            return bool(answers)

        self.wait("the broker", answered)
        return answers[-1]

    def published(self) -> int | None:
        """How many messages the topic of the bars holds; None where the broker does not answer."""
        topic = self.settings.kafka.bars_topic
        places = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        try:
            with KafkaConsumer(
                bootstrap_servers=self.broker.bootstrap_servers,
                group_id=None,
                bootstrap_timeout_ms=1_000,
            ) as consumer:
                return sum(consumer.end_offsets(places, timeout_ms=2_000).values())
        except (KafkaConnectionError, RetriableError):
            return None

    def written(self) -> int:
        """How many messages of that topic the committed micro-batches have read."""
        return messages_written(self.settings)

    def ingest_until(self, epoch_s: float) -> None:
        """Publish every bar that closes by then, at once, and wait until ingest has ended well."""
        until = datetime.fromtimestamp(epoch_s, UTC).isoformat()
        kept = Kept(self._ingest(until, "max"))
        with kept.program:
            self.wait("ingest", lambda: kept.program.exit_code is not None)
        assert kept.program.exit_code == 0, kept.program.log_tail(5)

    def settle(self) -> None:
        """End ingest in an orderly way, fill up what it had begun, let the stream write it all.

        The stream is stopped afterwards, the broker runs on.
        """
        self._keep_ingest = False
        self.ingest.program.stop()
        self.ingest_until(self.until_ms() / 1000)
        published = self.published_when_up()
        self.wait("the stream", lambda: self.written() >= published)
        self.keep_stream = False
        self.stream.program.stop()
        self.stream.program.forget()

    def go_on(self) -> None:
        """After `settle`: let bars flow and the stream run again."""
        self._keep_ingest = self.keep_stream = True
        self.ingest.program.forget()

    def until_ms(self) -> int:
        """The close of the newest bar on the topic, epoch ms."""
        return max(bar.close_time for bar in self.bars_on_topic())

    def bars_on_topic(self) -> list[Bar]:
        """Every message of the topic of the bars."""
        kafka = self.settings.kafka
        messages = read_topic(kafka.bootstrap_servers, kafka.bars_topic)
        return [Bar.from_json(m) for m in messages if read_wake(m) is None]

    def kill_broker(self) -> int:
        """`kill -9` for the broker; how many processes that ended: none while it is down."""
        if self.broker.pid is None or self._broker_start is not None:
            return 0
        self.broker.kill()
        return 1

    def restart_broker(self) -> None:
        """End the broker as an administrator would; `look` starts it again."""
        if self._broker_start is None:
            self.broker.stop()
