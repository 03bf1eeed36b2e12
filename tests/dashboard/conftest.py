"""A live demo for the page: real broker, real stream, the page's own server, a real browser."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Page, expect
from pyspark.sql import SparkSession

from conf.ports import free_port
from conf.sections import Registry as RegistrySettings
from conf.settings import Settings
from ingest.bar import Bar
from ingest.replay import in_close_order
from ingest.sources.recorded import read_bars
from jobs.machine.broker import EmbeddedBroker
from jobs.machine.processes import Program, wait_until
from jobs.scoring.scoreboard import update_scores
from stream.metrics import StreamMetrics
from stream.query import start_query
from tests.streams import RunningStream, stream_settings

FILES = {"BTC-USD": "btcusd", "ETH-USD": "ethusd"}
ARCHIVED = 500
START_TIMEOUT_S = 120
# Long enough for a machine that does other things too; a page that is right is quick.
SEEN_TIMEOUT_MS = 60_000
expect.set_options(timeout=SEEN_TIMEOUT_MS)


@dataclass
class Demo:
    """A stream that has predicted some hundred bars of two symbols, and the bars still to come."""

    stream: RunningStream
    bars: list[Bar]
    metrics_port: int
    published: int = 0

    def publish(self, count: int) -> None:
        """Let the stream work off the next bars."""
        self.stream.publish(self.bars[self.published : self.published + count])
        self.published += count

    @property
    def settings(self) -> Settings:
        return self.stream.settings

    @property
    def warehouse(self) -> Path:
        return Path(self.settings.warehouse.dir)

    def env(self, **changed: str) -> dict[str, str]:
        """What a program needs to look at this demo."""
        kafka, registry = self.settings.kafka, self.settings.registry
        return {
            "CANDLECAST_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "CANDLECAST_KAFKA__PREDICTIONS_TOPIC": kafka.predictions_topic,
            "CANDLECAST_KAFKA__REJECTED_TOPIC": kafka.rejected_topic,
            "CANDLECAST_WAREHOUSE__DIR": self.settings.warehouse.dir,
            "CANDLECAST_REGISTRY__TRACKING_URI": registry.tracking_uri,
            "CANDLECAST_REGISTRY__ARTIFACT_DIR": registry.artifact_dir,
            "CANDLECAST_STREAM__METRICS_PORT": str(self.metrics_port),
            **changed,
        }


@pytest.fixture(scope="module")
def demo(
    spark: SparkSession,
    broker: EmbeddedBroker,
    tmp_path_factory: pytest.TempPathFactory,
    champion_registry: RegistrySettings,
    data_dir: Path,
) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    metrics = StreamMetrics()
    port = metrics.serve(0)
    assert port is not None
    settings = stream_settings(broker, f"demo{port}", folder, champion_registry)
    stream = RunningStream(spark, settings)
    names = {s: data_dir / f"{n}_cryptocompare_cccagg_1m_2017-12.csv.gz" for s, n in FILES.items()}
    bars = list(in_close_order(read_bars(file, symbol, "1m") for symbol, file in names.items()))
    running = Demo(stream, bars, port)
    stream.queries.append(start_query(spark, settings, metrics))
    metrics.follow(stream.queries[-1])
    running.publish(ARCHIVED)
    update_scores(running.warehouse)
    yield running
    stream.stop()


@contextmanager
def serving(
    command: str, env: Mapping[str, str], log: Path, path: str, port: int = 0
) -> Iterator[str]:
    """`candlecast COMMAND` on a port, or a free one, answering; its URL."""
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    argv = [sys.executable, "-m", "jobs.cli", command, "--port", str(port)]

    def answers() -> bool:
        try:
            with urlopen(url + path, timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    with Program(command, argv, env, log) as program:
        if not wait_until(answers, START_TIMEOUT_S, program.check):
            pytest.fail(f"{command} did not answer: {log.read_text()}")
        yield url


@pytest.fixture(scope="module")
def page_url(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("page") / "page.log"
    with serving("dashboard", demo.env(), log, "/overview") as url:
        yield url


@dataclass
class Watched:
    """A page and everything that went wrong or left the machine while it was open."""

    page: Page
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)


def is_here(url: str) -> bool:
    """Whether an address is of this machine."""
    address = urlsplit(url)
    return address.scheme in ("file", "data", "blob") or address.hostname == "127.0.0.1"


@contextmanager
def watched(browser: Browser, loses_server: bool = False, **options: object) -> Iterator[Watched]:
    """A page of a profile of its own; fails at the end on a console error or a foreign request.

    A page that `loses_server` may report each refused connection.
    """
    context = browser.new_context(**options)  # type: ignore[arg-type]
    seen = Watched(context.new_page())
    seen.page.set_default_timeout(SEEN_TIMEOUT_MS)
    seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
    seen.page.on("console", lambda m: seen.errors.append(m.text) if m.type == "error" else None)
    seen.page.on("request", lambda r: None if is_here(r.url) else seen.foreign.append(r.url))
    yield seen
    context.close()
    assert seen.foreign == []
    assert [e for e in seen.errors if not (loses_server and "net::ERR_" in e)] == []


@pytest.fixture
def page(browser: Browser, page_url: str) -> Iterator[Page]:
    """The demo's page with all its cards."""
    with watched(browser, viewport={"width": 1280, "height": 1000}) as seen:
        seen.page.goto(page_url)
        for symbol in FILES:
            expect(seen.page.locator(".card", has_text=symbol)).to_be_visible()
        yield seen.page
