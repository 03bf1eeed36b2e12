"""`candlecast start`: from nothing to live predictions, in one command.

It asks for what no flag says, looks whether this machine can, says what it will do, writes a
settings file and keeps the programs running as `candlecast run` does, the page among them. Where no
broker answers, one of its own runs beside them.
"""

import json
import os
import shutil
import sys
import tomllib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from conf.errors import MissingPrerequisite, RetryLater
from conf.ports import require_free
from conf.settings import Ingest, Settings, load_settings
from conf.timeframes import TIMEFRAME_MS
from ingest.check import check_source
from ingest.clock import Clock
from ingest.plan import as_named, plan_series
from ingest.sources.candles import lacking_fields
from ingest.topics import check_broker
from jobs.ingest_bars import listed, opened, overridden
from jobs.machine.broker import EmbeddedBroker
from jobs.machine.java import java_command
from jobs.run import EVERYTHING, keep_running, programs
from jobs.terminal.logs import configure_logging
from model.shipped import shipped_fits

LEAST_DISK_MB: Final = 2_000
BROKER_S: Final = 2.0
DEFAULTS: Final = {
    "source": ("Where do bars come from?", "exchange:binance"),
    "symbols": ("Which symbols, with commas?", "BTC-USDT,ETH-USDT"),
    "timeframe": ("How long is a bar?", "1m"),
}


@dataclass(frozen=True)
class Wanted:
    """What a person asked for."""

    source: str
    symbols: str
    timeframe: str

    def over(self, ingest: Ingest) -> Ingest:
        """The settings of ingest with it; raises ConfigurationError where it makes no sense."""
        given = {"source": self.source, "symbols": listed(self.symbols)}
        return overridden(ingest, {**given, "intervals": [self.timeframe]})


def start(
    source: Annotated[
        str | None, typer.Option(help="exchange:binance, cryptocompare, synthetic, ...")
    ] = None,
    symbols: Annotated[str | None, typer.Option(help="BTC-USDT,ETH-USDT")] = None,
    timeframe: Annotated[str | None, typer.Option(help=", ".join(TIMEFRAME_MS))] = None,
    yes: Annotated[bool, typer.Option("--yes", help="ask nothing")] = False,
    check: Annotated[bool, typer.Option("--check", help="look, write nothing, and end")] = False,
) -> None:
    """Ask, check, write the settings, and predict live until Ctrl-C."""
    given = {"source": source, "symbols": symbols, "timeframe": timeframe}
    wanted = ask(given, typer.prompt if sys.stdin.isatty() and not yes else None)
    settings = load_settings()
    own_broker = examine(settings, wanted)
    file = settings.warehouse.folder / "candlecast.toml"
    typer.echo(plan(settings, wanted, own_broker, file))
    if check:
        return
    if sys.stdin.isatty() and not yes and not typer.confirm("Start?", default=True):
        return
    configure_logging()
    with ExitStack() as running:
        broker = EmbeddedBroker(settings.warehouse.folder / "broker") if own_broker else None
        if broker is not None:
            running.enter_context(broker)
        use(file, settings, wanted, broker.bootstrap_servers if broker else None)
        those = programs([*EVERYTHING, "dashboard"], settings.warehouse.folder / "logs")
        # The first is ended last.
        keep_running([*([broker.program] if broker else []), *those], load_settings())


def ask(given: dict[str, str | None], prompt: Callable[..., str] | None) -> Wanted:
    """What was given, and for the rest what `prompt` answers; without one the defaults."""
    found = {}
    for name, (question, default) in DEFAULTS.items():
        value = given[name]
        if value is None:
            value = prompt(question, default=default) if prompt else default
        found[name] = value.strip()
    return Wanted(**found)


def examine(settings: Settings, wanted: Wanted) -> bool:
    """Look at Java, disk, ports, source and broker, a line each; returns whether a broker of our
    own is needed.

    Raises MissingPrerequisite or ConfigurationError at the first that a person has to mend, and
    RetryLater where the source does not answer.
    """
    typer.echo(f"ok      Java: {java_command()}")
    folder = settings.warehouse.folder
    folder.mkdir(parents=True, exist_ok=True)
    free_mb = shutil.disk_usage(folder).free // 10**6
    if free_mb < LEAST_DISK_MB:
        raise MissingPrerequisite(f"{folder}: {free_mb} MB are free, {LEAST_DISK_MB} are needed")
    typer.echo(f"ok      disk: {free_mb:,} MB free in {folder}")
    shown, stream = settings.dashboard, settings.stream
    require_free(shown.port, shown.host, "dashboard.port")
    require_free(stream.metrics_port, stream.metrics_host, "stream.metrics_port")
    typer.echo(f"ok      ports: {shown.port} (page), {stream.metrics_port} (figures)")
    asked, clock = wanted.over(settings.ingest), Clock()
    source = opened(asked, clock)
    series = plan_series(source, as_named(source, asked))
    for one in series:
        typer.echo(f"ok      source: {check_source(source, one, asked, clock.now_ms())}")
    try:
        found = check_broker(settings.kafka, settings.kafka.bars_topic, BROKER_S)
        typer.echo(f"ok      broker: {found}")
    except RetryLater:
        typer.echo(f"ok      broker: none at {settings.kafka.bootstrap_servers}: one of our own")
        return True
    return False


def plan(settings: Settings, wanted: Wanted, own_broker: bool, file: Path) -> str:
    """What will happen, for a person."""
    shown, folder = settings.dashboard, settings.warehouse.folder
    broker = "a Kafka broker of our own" if own_broker else "your broker"
    lacking = lacking_fields(wanted.source)
    fits = shipped_fits(wanted.timeframe, settings.window.lookback, lacking)
    if settings.promotion.shipped and fits:
        model = "A model that comes with the code predicts at once, marked as unproven."
    else:
        model = (
            f"No model for {wanted.timeframe} bars of it comes with the code: `candlecast train`."
        )
    return f"""
{wanted.symbols}: bars of {wanted.timeframe} from {wanted.source}, with {broker}.
Each symbol's last {settings.ingest.backfill_bars:,} bars come first. {model}
All that is kept lies in {folder}, logs in {folder / "logs"}, settings in {file}.
For other commands: export CANDLECAST_CONFIG={file}
The page: http://{shown.host}:{shown.port}
"""


def use(file: Path, settings: Settings, wanted: Wanted, broker: str | None) -> None:
    """Write the settings file, and let the programs go by it.

    It holds what was asked for, where all that is kept lies, and whatever else the user's own file
    says; of the environment, what says otherwise is taken out.
    """
    asked = wanted.over(settings.ingest)
    polled = {"source", "symbols", "intervals", "intervals_of"}
    stated = {
        "kafka": {"bootstrap_servers": broker or settings.kafka.bootstrap_servers},
        "ingest": asked.model_dump(include=polled),
        "warehouse": settings.warehouse.model_dump(),
        "registry": settings.registry.model_dump(),
    }
    own = os.environ.get("CANDLECAST_CONFIG")
    tables: dict[str, dict[str, Any]] = tomllib.loads(Path(own).read_text()) if own else {}
    for section, values in stated.items():
        tables[section] = tables.get(section, {}) | values
    lines = ["# Written by `candlecast start`; every other setting is as in conf/candlecast.toml."]
    for section, values in tables.items():
        lines += ["", f"[{section}]", *(f"{k} = {_toml(v)}" for k, v in values.items())]
    file.write_text("\n".join(lines) + "\n")
    said = {f"CANDLECAST_{table}__{k}".upper() for table, values in stated.items() for k in values}
    for name in [name for name in os.environ if name.upper() in said]:
        del os.environ[name]
    os.environ["CANDLECAST_CONFIG"] = str(file)
    load_settings.cache_clear()


def _toml(value: Any) -> str:
    """A value of a settings file."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, date):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False)
