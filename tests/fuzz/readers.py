"""Hostile records, a hostile warehouse, and every reader over them: none ends, none is blind."""

import json
import logging
import threading
import time
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from kafka import KafkaProducer

from bench.warehouse import DAY_MS, Market, Recorder
from conf.errors import RetryLater
from conf.ports import free_port
from conf.sections import Registry as RegistrySettings
from ingest.topics import ensure_topics
from jobs.machine.broker import EmbeddedBroker
from jobs.machine.processes import Program, candlecast, wait_until
from model.forecast import Forecaster
from model.registry import Registry
from store.views import read_sql
from tests.artifacts import random_champion
from tests.fuzz.records import GOOD_EVERY, GOOD_SYMBOL, predictions, rejections
from tests.fuzz.spoilt import spoil

log = logging.getLogger(__name__)

NAMES: Final = ["AAA-USD", "BBB-USD"]
TIMEOUT_S: Final = 300.0
LIVE_MINUTES: Final = 60
DAYS: Final = 2
COUNTS: Final = "SELECT symbol, count(*) FROM {} WHERE symbol IN ({}) GROUP BY 1 ORDER BY 1"
# Each must end well over the hostile warehouse; those that may lack bars may say so.
PROGRAMS: Final = {
    "score": ["score"],
    "drift and score again": ["score"],
    "train": ["train", "--allow-unproven", "--symbols", ",".join(NAMES)],
    "retrain": ["retrain", "--once", "--force"],
    "export": ["export", "--symbol", NAMES[0], "--table", "bars", "--out", "{out}"],
    "sql by DuckDB": ["sql", "SELECT count(*) FROM scored"],
    "sql by Spark": [
        "sql",
        "--engine",
        "spark",
        "SELECT count(*) FROM bars WHERE symbol = 'AAA-USD'",
    ],
    "compaction": ["compact"],
}
SMALL: Final = {
    "CANDLECAST_TRAINING__MAX_EPOCHS": "1",
    "CANDLECAST_TRAINING__MEMBERS": "2",
    "CANDLECAST_TRAINING__UNITS": "4",
    "CANDLECAST_INGEST__INTERVALS": '["1m"]',
    "CANDLECAST_INGEST__SYMBOLS": json.dumps(NAMES),
}


@dataclass
class ReadersReport:
    """What readers made of it: `failures` is empty where all was well."""

    records: int = 0
    passed_over: int = 0
    events: int = 0
    files: int = 0
    failures: list[str] = field(default_factory=list)

    def expect(self, what: str, found: object, wanted: object) -> None:
        """Note a failure where they differ."""
        if found != wanted:
            self.failures.append(f"{what}: expected {wanted}, found {found}")
            log.error("%s", self.failures[-1])


def fuzz_readers(folder: Path, records: int, files: int, seed: int) -> ReadersReport:
    """`records` on both topics and `files` in the warehouse, with every reader over them."""
    report = ReadersReport()
    registry = random_champion(folder)
    warehouse = folder / "warehouse"
    lay(warehouse, registry)
    with EmbeddedBroker(folder / "broker") as broker:
        env = environment(folder, registry) | {
            "CANDLECAST_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers
        }
        ensure_topics(broker.bootstrap_servers, {"predictions": 1, "bars.rejected": 1})
        port = free_port()
        with candlecast("api", ["--port", str(port)], env, folder / "api.log") as api:
            url = f"http://127.0.0.1:{port}"
            wait_until(lambda: ask(f"{url}/health") is not None, TIMEOUT_S, api.check)
            read_records(report, broker.bootstrap_servers, url, api, records, seed)
            before = counts(warehouse)
            report.files = len(spoil(warehouse, files, seed))
            report.expect("rows of the good series", counts(warehouse), before)
            read_warehouse(report, url, folder, env)
            report.expect("the API's end", api.exit_code, None)
    return report


def lay(warehouse: Path, registry: RegistrySettings) -> None:
    """Two days and an hour of predicted minutes, up to yesterday."""
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    market = Market(NAMES, now_ms // DAY_MS * DAY_MS - (DAYS + 1) * DAY_MS)
    recorder = Recorder(warehouse, market)
    recorder.lay_days(1)
    served = Registry.of(registry).load("1m-1")
    recorder.forecaster = Forecaster(served)
    recorder.lay_days(DAYS - 1)
    recorder.lay_minutes(LIVE_MINUTES)


def environment(folder: Path, registry: RegistrySettings) -> dict[str, str]:
    """Everything in `folder`, a stream that is not there."""
    return SMALL | {
        "CANDLECAST_STREAM__METRICS_PORT": "9",
        "CANDLECAST_DASHBOARD__REQUESTS_PER_MINUTE": "100000",
        "CANDLECAST_WAREHOUSE__DIR": str(folder / "warehouse"),
        "CANDLECAST_WAREHOUSE__CHECKPOINT_DIR": str(folder / "checkpoints"),
        "CANDLECAST_WAREHOUSE__REPORTS_DIR": str(folder / "reports"),
        "CANDLECAST_REGISTRY__TRACKING_URI": registry.tracking_uri,
        "CANDLECAST_REGISTRY__ARTIFACT_DIR": registry.artifact_dir,
    }


def counts(warehouse: Path) -> dict[str, list[tuple[str, int]]]:
    """The rows of the good series in both tables, by DuckDB's views."""
    names = ", ".join(f"'{name}'" for name in NAMES)
    return {
        table: [tuple(row) for row in read_sql(warehouse, COUNTS.format(table, names)).values]
        for table in ("bars", "predictions")
    }


def read_records(
    report: ReadersReport, servers: str, url: str, api: Program, count: int, seed: int
) -> None:
    """Publish hostile records; each good one must come to a listener once."""
    now_ms = int(time.time() * 1000)
    listener = Listener(f"{url}/events?symbol={GOOD_SYMBOL}")
    wait_until(lambda: listener.listening, TIMEOUT_S, api.check)
    publish(servers, "predictions", predictions(count, seed, now_ms))
    publish(servers, "bars.rejected", rejections(count, seed))
    good, bad = count // GOOD_EVERY, count - count // GOOD_EVERY
    report.records = 2 * count

    def all_read() -> bool:
        health = ask(f"{url}/health") or {}
        report.passed_over = sum((health.get("passed_over") or {}).values())
        report.events = len(listener.events)
        return report.passed_over >= 2 * bad and report.events >= good

    wait_until(all_read, TIMEOUT_S, api.check)
    health = ask(f"{url}/health") or {}
    newest = ask(f"{url}/predictions/{GOOD_SYMBOL}") or [{}]
    report.expect("records passed over", report.passed_over, 2 * bad)
    report.expect("events of the good series", report.events, good)
    report.expect("each event once", len({e["as_of"] for e in listener.events}), good)
    report.expect("what health says of the broker", health.get("broker"), "connected")
    last = max((e["as_of"] for e in listener.events), default=None)
    report.expect("the newest prediction", newest[0].get("as_of"), last)


class Listener:
    """One who listens to `/events`."""

    def __init__(self, url: str) -> None:
        self.events: list[dict[str, Any]] = []
        self.listening = False
        threading.Thread(target=self._read, args=(url,), daemon=True).start()

    def _read(self, url: str) -> None:
        with opener().open(url, timeout=TIMEOUT_S) as lines:
            for line in lines:
                self.listening = True
                if line.startswith(b"data: "):
                    self.events.append(json.loads(line[len(b"data: ") :]))


def publish(servers: str, topic: str, values: Iterable[bytes | None]) -> None:
    """Send them in order."""
    with KafkaProducer(bootstrap_servers=servers, linger_ms=50, batch_size=1 << 19) as producer:
        for value in values:
            producer.send(topic, value, key=b"any", partition=0)
        producer.flush()


def read_warehouse(report: ReadersReport, url: str, folder: Path, env: Mapping[str, str]) -> None:
    """Every program over the hostile warehouse."""
    for name in NAMES:
        history = ask(f"{url}/predictions/{name}/history?limit=5000")
        wanted = dict(counts(folder / "warehouse")["predictions"])[name]
        report.expect(f"history of {name}", len(history or ()), min(5_000, wanted))
    for name, (command, *arguments) in PROGRAMS.items():
        out = folder / f"{name.replace(' ', '-')}.csv"
        given = [argument.format(out=out) for argument in arguments]
        program = candlecast(command, given, env, folder / f"{name.replace(' ', '-')}.log")
        with program:
            wait_until(lambda program=program: not program.running, TIMEOUT_S)
            if program.exit_code not in (0, RetryLater.exit_code):
                ended = f"{name} ended with {program.exit_code}: {program.last_words()}"
                report.failures.append(ended)
                log.error("%s", ended)
    for path in ("/scores", "/models", "/health"):
        report.expect(f"an answer from {path}", ask(url + path) is not None, True)


def opener() -> urllib.request.OpenerDirector:
    """Asks without a proxy."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(url: str) -> Any:
    """The answer as JSON; None where there is none, or a bad one."""
    try:
        with opener().open(url, timeout=60) as answer:
            return json.load(answer)
    except (OSError, ValueError) as error:
        log.warning("%s: %s", url, error)
        return None
