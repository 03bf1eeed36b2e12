"""The steps of the demo.

1. start a broker and, beside it, the stream by `spark-submit`; the shipped model serves
2. publish the end of the first part of the bars, which the first windows look at
3. replay the rest at a chosen speed while the stream predicts, and show it

Or, between 1 and 3: publish the whole first part, wait until the stream has archived it, and train.
"""

import json
import math
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from kafka import KafkaConsumer, TopicPartition
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from conf.errors import CandlecastError
from conf.locks import only_one
from conf.ports import free_port, is_free
from conf.settings import Settings, home_variables, load_settings
from conf.shown import shown_price
from ingest.bar import Bar
from ingest.clock import Clock
from ingest.publish import BarPublisher
from ingest.replay import paced
from ingest.topics import ensure_topics
from jobs.demo.recordings import Parts
from jobs.demo.report import DemoReport, parquet_predictions, parquet_rows, predictable_windows
from jobs.demo.table import DemoTable
from jobs.machine.broker import EmbeddedBroker
from jobs.machine.java import BRIEF
from jobs.machine.processes import (
    Program,
    candlecast,
    let_go,
    spark_submit,
    start_child,
    wait_until,
)
from model.decisions import Arena

DEMO_DIR: Final = Path("warehouse/demo")
# What the stream may need for its first micro-batch on a slow laptop, and for the last one.
ARCHIVE_TIMEOUT_S: Final = 180
PREDICT_TIMEOUT_S: Final = 240  # on a slow or busy machine the stream starts long after the bars


class DemoFailed(CandlecastError):
    """The demo can't go on; the message says at which step and why."""


class Stage:
    """What runs during a demo, and the steps on it."""

    def __init__(
        self,
        console: Console,
        running: ExitStack,
        with_shipped: bool,
        leaders: Sequence[str] = (),
    ) -> None:
        self._started = time.monotonic()
        self._said_first = False
        running.enter_context(only_one(DEMO_DIR.parent / ".demo.lock", f"the demo in {DEMO_DIR}"))
        shutil.rmtree(DEMO_DIR, ignore_errors=True)
        self._console = console
        self._running = running
        self._broker = EmbeddedBroker(DEMO_DIR / "broker", options=BRIEF)
        self._env = {
            "CANDLECAST_KAFKA__BOOTSTRAP_SERVERS": self._broker.bootstrap_servers,
            "CANDLECAST_PROMOTION__SHIPPED": str(with_shipped).lower(),
            "CANDLECAST_MARKET__LEADERS": json.dumps(leaders),
            **home_variables(DEMO_DIR),
        }
        os.environ.update(self._env)
        self.settings: Settings = load_settings()
        self._stream: Program = spark_submit(
            "jobs/predict_stream.py",
            self._env,
            DEMO_DIR / "stream.log",
            ["--driver-java-options", " ".join(BRIEF)],
        )

    def start(self) -> None:
        """Bring stream, broker and topics up side by side."""
        with self._console.status("Starting Kafka and Spark ..."):
            self._running.callback(self._broker.stop)  # after the stream
            self._running.enter_context(self._stream)
            self._broker.start()
            kafka = self.settings.kafka
            topics = (kafka.bars_topic, kafka.rejected_topic, kafka.predictions_topic)
            ensure_topics(kafka, dict.fromkeys(topics, kafka.partitions))
        self._console.print(
            f"Kafka on {self._broker.bootstrap_servers}; the stream logs to {self._stream.log}"
        )

    def show_page(self) -> None:
        """Serve the page, and keep scoring what it shows."""
        page = self.settings.dashboard
        port = page.port if is_free(page.port) else free_port()
        for name, arguments in (("dashboard", f"--port {port}"), ("score", "--every 30")):
            file = DEMO_DIR / f"{name}.log"
            self._running.enter_context(candlecast(name, arguments.split(), self._env, file))
        self._console.print(f"The page is on http://{page.host}:{port}", highlight=False)

    def archive(self, bars: list[Bar]) -> None:
        """Publish the backfill and wait until the stream has archived it."""
        self.publish(bars)
        self._await_archive(len(bars))

    def publish(self, bars: list[Bar]) -> None:
        """Publish bars at once."""
        with self._publisher() as publisher:
            publisher.publish(bars)

    def _await_archive(self, bars: int) -> None:
        shown = (TextColumn("archiving"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*shown, console=self._console) as progress:
            task = progress.add_task("", total=bars)

            def archived() -> bool:
                count = parquet_rows(DEMO_DIR, "bars")
                progress.update(task, completed=count)
                return count >= bars

            self._wait(archived, ARCHIVE_TIMEOUT_S, "the stream did not archive the backfill")

    def train(self, symbols: Sequence[str], allow_unproven: bool) -> None:
        """Train on the archive, in a process of its own: TensorFlow is needed for nothing else."""
        unproven = ["--allow-unproven"] if allow_unproven else []
        self._run("train", ["--symbols", ",".join(symbols), *unproven])
        if self._champion() is None:
            raise DemoFailed(
                "the model is not better than repeating the last price, so it is not served; "
                "with --allow-unproven added to ARGS it is served all the same, marked in every row"
            )

    def replay(self, parts: Parts, speed: float) -> DemoReport:
        """Publish the second part, show the predictions of it, and count them."""
        lookback = self.settings.window.lookback
        horizons = sorted(self.settings.training.horizons)
        bars = parts.backfill + parts.replay
        expected = predictable_windows(bars, lookback, parts.replayed_from)
        expected_rows = len(expected) * len(horizons)
        table = DemoTable()
        replay_s = (parts.replay[-1].close_time - parts.replayed_from) / 1000 / speed
        stopping = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            publishing = pool.submit(self._publish, parts.replay, speed, stopping)

            def through() -> bool:
                if not publishing.done():
                    return False
                publishing.result()  # raises what went wrong
                done = len(table.seen) >= expected_rows
                return done and parquet_rows(DEMO_DIR, "predictions") >= expected_rows

            late = "some predictions are missing; the summary says how many"
            try:
                self._show(table, through, replay_s + PREDICT_TIMEOUT_S, late)
            except DemoFailed as error:
                self._console.print(str(error), style="red")
            finally:
                stopping.set()
        in_parquet, twice = parquet_predictions(DEMO_DIR, len(horizons))
        on_topic = table.windows(len(horizons))
        return DemoReport(
            bars_published=len(bars),
            windows_predictable=len(expected),
            predictions_parquet=len(in_parquet),
            predictions_topic=len(on_topic),
            unexpected=len((in_parquet | on_topic) - expected),
            duplicates_parquet=twice,
            skipped=len(parts.replay) - len(expected),
            skill_vs_persistence=table.skill,
            skill_by_symbol=table.skills,
            seconds=round(time.monotonic() - self._started, 1),
            model_version=self._champion() or "none",
            horizons=horizons,
        )

    def _publish(self, bars: list[Bar], speed: float, stopping: threading.Event) -> None:
        """Publish bars at a speed, times real time, until `stopping` is set."""
        with self._publisher() as publisher:
            for group in paced(bars, speed, Clock(stopping)):
                if stopping.is_set():
                    return
                publisher.publish(group)

    def backfill_from(self, source: str, symbols: str) -> None:
        """Fetch history from a live source through the topic, and wait until it is archived."""
        arguments = ["--source", source, "--symbols", symbols, "--interval", "1m"]
        self._run("ingest", [*arguments, "--once"])
        with KafkaConsumer(bootstrap_servers=self._broker.bootstrap_servers) as consumer:
            topic = self.settings.kafka.bars_topic
            partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic)]
            self._await_archive(sum(consumer.end_offsets(partitions).values()))
        ingest = candlecast("ingest", arguments, self._env, DEMO_DIR / "ingest.log")
        self._running.enter_context(ingest)

    def show_live(self, until_first: bool) -> None:
        """Show predictions until Ctrl-C, or until there is one."""
        table = DemoTable()
        done = (lambda: bool(table.seen)) if until_first else (lambda: False)
        self._show(table, done, math.inf, "there is no prediction")

    def _show(
        self, table: DemoTable, done: Callable[[], bool], timeout_s: float, late: str
    ) -> None:
        kafka = self.settings.kafka
        consumer = KafkaConsumer(
            *(kafka.bars_topic, kafka.predictions_topic),
            bootstrap_servers=self._broker.bootstrap_servers,
            auto_offset_reset="earliest",
            group_id=None,
        )
        with consumer, Live(console=self._console, auto_refresh=False) as live:

            def shown() -> bool:
                for place, records in consumer.poll(timeout_ms=200).items():
                    is_bar = place.topic == kafka.bars_topic
                    add = table.add_bars if is_bar else table.add_predictions
                    add(record.value for record in records)
                table.settle()
                live.update(table.render(), refresh=self._console.is_terminal)
                if table.seen and not self._said_first:
                    self._say_first(table)
                return done()

            self._wait(shown, timeout_s, late)

    def _say_first(self, table: DemoTable) -> None:
        self._said_first = True
        took_s, first = time.monotonic() - self._started, table.newest[0]
        self._console.print(
            f"First prediction after {took_s:.0f} s: {first['symbol']} at "
            f"{shown_price(first['predicted_close'])} in a minute, 90 % within "
            f"{shown_price(first['lower'])} to {shown_price(first['upper'])}, "
            f"by {first['model_version']}",
            highlight=False,
        )

    def _run(self, name: str, arguments: list[str]) -> None:
        """Run a command to its end, its progress in this terminal."""
        command = [sys.executable, "-m", "jobs.cli", name, *arguments]
        step = start_child(command)
        try:
            code = step.wait()
        except KeyboardInterrupt:
            step.terminate()
            step.wait()
            raise
        finally:
            let_go(step)
        if code:
            raise DemoFailed(
                f"`candlecast {name}` ended with exit code {code}; see its message above"
            )

    def _wait(self, done: Callable[[], bool], timeout_s: float, message: str) -> None:
        if not wait_until(done, timeout_s, self._stream.check):
            raise DemoFailed(f"{message} within {timeout_s:.0f} s; see {self._stream.log}")

    def _publisher(self) -> BarPublisher:
        kafka = self.settings.kafka
        return BarPublisher(kafka, kafka.bars_topic)

    def _champion(self) -> str | None:
        return Arena.of(self.settings).registry.champion("1m")
