"""The stream's metrics for Prometheus: what Spark says of each micro-batch, and what we wrote.

Kafka's offsets live in the checkpoint and in no consumer group, so that only the query itself knows
how far behind it is.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, start_http_server
from py4j.protocol import Py4JError
from pyspark.sql.streaming import StreamingQuery
from pyspark.sql.streaming.listener import StreamingQueryProgress

from conf.events import event

log = logging.getLogger(__name__)

LOOPBACK: Final = "127.0.0.1"
EVERY_S: Final = 1.0


@dataclass(frozen=True)
class WrittenMicroBatch:
    """What one micro-batch has put into the sinks.

    versions: of the models, by timeframe. with_news: windows whose news were known. waiting: by
    shard that it reached, bars that wait for their leaders, the last of them until `wait_until`
    (epoch ms of the topic's messages). waited: bars that have waited and windows without leaders,
    by what became of them.
    """

    bars: int
    predictions: int
    rejected: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    articles: int = 0
    with_news: int = 0
    waiting: Mapping[int, int] = field(default_factory=dict)
    wait_until: int = 0
    waited: Mapping[str, int] = field(default_factory=dict)


class StreamMetrics:
    """Gauges and counters of one stream, in a registry of their own.

    `follow` reads what Spark says of each micro-batch, `written` is called by the writer. Neither
    may raise: metrics never stop the stream. Spark's listeners would be called for each micro-batch
    at 0.1 to 0.2 s of CPU, since PySpark asks Java for number after number.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.registry = CollectorRegistry()
        self._clock = clock
        self._caught_up_at = clock()
        self._behind = 0
        self._newest_batch = -1
        self._held: dict[int, int] = {}  # bars that wait, by shard
        own: Any = {"namespace": "candlecast", "registry": self.registry}
        ProcessCollector(namespace="candlecast", registry=self.registry)
        self._rows_in = Counter("rows_in", "messages read from the topic of bars", **own)
        self._bars = Counter("bars", "good bars archived", **own)
        self._predictions = Counter("predictions", "predictions written", **own)
        self._abstentions = Counter("abstentions", "bars without a prediction", ["reason"], **own)
        self._waiting = Gauge("waiting_bars", "bars that wait for their leaders", **own)
        waited = "bars that waited for leaders (came, ran_out), windows without them (without)"
        self._waited = Counter("leader_waits", waited, ["end"], **own)
        self._rejected = Counter("rejected", "messages that broke a rule", **own)
        self._batches = Counter("micro_batches", "micro-batches done", **own)
        self._batch_id = Gauge("micro_batch_id", "newest micro-batch", **own)
        self._phase = Gauge("micro_batch_seconds", "newest micro-batch by phase", ["phase"], **own)
        self._lag = Gauge("lag_records", "messages on the topic not read yet", **own)
        lag_s = Gauge("lag_seconds", "time since everything had been read; 0 if it is", **own)
        lag_s.set_function(self._behind_s)
        self._state_rows = Gauge("state_rows", "keys in the window state", **own)
        self._state_bytes = Gauge("state_memory_bytes", "memory of the window state", **own)
        self._predicted_at = Gauge("last_prediction_timestamp_seconds", "unix time", **own)
        self._bar_at = Gauge("last_bar_timestamp_seconds", "when a bar last came, unix time", **own)
        away = "since when the registry has not answered, unix time; 0: it answers"
        self._registry_away = Gauge("registry_away_since_timestamp_seconds", away, **own)
        self._champion = Gauge("champion", "1: in service", ["interval", "version"], **own)

    def follow_registry(self, away_since: Callable[[], float]) -> None:
        """Show since when the registry has not answered."""
        self._registry_away.set_function(away_since)

    def serve(self, port: int, host: str = LOOPBACK) -> int | None:
        """Answer `GET /metrics` on `port` (0: a free one) until the process ends.

        Returns the port, or None with a line in the log where it can't be had.
        """
        try:
            server, _ = start_http_server(port, host, self.registry)
        except OSError as error:
            event(log, "metrics_off", level=logging.WARNING, port=port, reason=error)
            return None
        event(log, "metrics", url=f"http://{host}:{server.server_port}/metrics")
        return int(server.server_port)

    def written(self, batch: WrittenMicroBatch) -> None:
        """Count what the writer has written."""
        self._bars.inc(batch.bars)
        self._rejected.inc(batch.rejected)
        self._predictions.inc(batch.predictions)
        for reason, count in batch.skipped.items():
            self._abstentions.labels(reason).inc(count)
        self._held |= batch.waiting
        self._waiting.set(sum(self._held.values()))
        for end, count in batch.waited.items():
            self._waited.labels(end).inc(count)
        if batch.bars:
            self._bar_at.set(self._clock())
        if batch.predictions:
            self._predicted_at.set(self._clock())
        self._champion.clear()
        for timeframe, version in batch.versions.items():
            self._champion.labels(timeframe, version).set(1)

    def follow(self, query: StreamingQuery) -> None:
        """Read the query's progress once a second, from a thread of its own, until it has ended."""

        def run() -> None:
            with suppress(Py4JError):  # Java has ended: the program says so where it waits for it
                while query.isActive:
                    self.read(query)
                    time.sleep(EVERY_S)
                self.read(query)

        threading.Thread(target=run, name="metrics", daemon=True).start()

    def read(self, query: StreamingQuery) -> None:
        """Count the micro-batches that are done since the last call, each once.

        Spark keeps a hundred of them, far more than are done between two calls, and takes the
        longer to hand them over: so the newest alone is asked for while none was missed.
        """
        try:
            newest = query.lastProgress
            if newest is None:
                return
            followed = newest.batchId <= self._newest_batch + 1
            for progress in [newest] if followed else query.recentProgress:
                self._take_over(progress)
        except Exception as error:
            event(log, "metrics_skipped", level=logging.WARNING, reason=repr(error))

    def _take_over(self, progress: StreamingQueryProgress) -> None:
        if "addBatch" not in progress.durationMs:  # an idle query looked for new messages
            self._set_behind(0)
            return
        if progress.batchId > self._newest_batch:
            self._newest_batch = progress.batchId
            self._rows_in.inc(progress.numInputRows)
            self._batches.inc()
        self._batch_id.set(progress.batchId)
        for phase, millis in progress.durationMs.items():
            self._phase.labels(phase).set(millis / 1000)
        sources = [(s.endOffset, s.latestOffset) for s in progress.sources]
        self._set_behind(sum(records_behind(end, latest) for end, latest in sources))
        self._state_rows.set(sum(s.numRowsTotal for s in progress.stateOperators))
        self._state_bytes.set(sum(s.memoryUsedBytes for s in progress.stateOperators))

    def _set_behind(self, records: int) -> None:
        self._behind = records
        self._lag.set(records)
        if records == 0:
            self._caught_up_at = self._clock()

    def _behind_s(self) -> float:
        return self._clock() - self._caught_up_at if self._behind else 0.0


def records_behind(end: str | None, latest: str | None) -> int:
    """How many records lie between two of Spark's Kafka offsets.

    >>> records_behind('{"bars": {"0": 5, "1": 7}}', '{"bars": {"0": 8, "1": 7}}')
    3
    >>> records_behind(None, "None")
    0
    """
    read, there = _offsets(end), _offsets(latest)
    return sum(max(0, offset - read.get(part, 0)) for part, offset in there.items())


def _offsets(text: str | None) -> dict[tuple[str, str], int]:
    # PySpark hands "None" on where Spark has nothing to say yet
    parsed = json.loads(text) if text and text != "None" else None
    topics = parsed if isinstance(parsed, dict) else {}
    return {(topic, p): int(o) for topic, parts in topics.items() for p, o in parts.items()}
