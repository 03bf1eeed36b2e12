"""`candlecast start`: from nothing to live predictions, in one command.

It asks for what no flag says, looks whether this machine can, says what it will do, writes a
settings file and keeps the programs running as `candlecast run` does, the page among them. Where no
broker answers, one of its own runs beside them. The next time it goes by that file, as it is then.
"""

import json
import os
import shutil
import sys
import tomllib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from conf.errors import ConfigurationError, MissingPrerequisite, RetryLater
from conf.ports import require_free
from conf.sections import Ingest
from conf.settings import Settings, load_settings
from conf.state_files import made_folder
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

SERVERS: Final = "CANDLECAST_KAFKA__BOOTSTRAP_SERVERS"
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
        return _overridden(ingest, asdict(self))


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
    settings = load_settings()
    file = settings.warehouse.folder / "candlecast.toml"
    if file.exists():
        settings = written_before(file, given)
        asked = settings.ingest
    else:
        asking = sys.stdin.isatty() and not yes
        asked = ask(given, typer.prompt if asking else None).over(settings.ingest)
    own_broker = examine(settings, asked)
    typer.echo(plan(settings, asked, own_broker, file))
    if check:
        return
    if sys.stdin.isatty() and not yes and not typer.confirm("Start?", default=True):
        return
    configure_logging()
    with ExitStack() as running:
        broker = EmbeddedBroker(settings.warehouse.folder / "broker") if own_broker else None
        if broker is not None:
            running.enter_context(broker)
        servers = broker.bootstrap_servers if broker else settings.kafka.bootstrap_servers
        if not file.exists():
            use(file, settings, asked, servers)
        elif broker:
            os.environ[SERVERS] = servers
            load_settings.cache_clear()
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


def written_before(file: Path, given: dict[str, str | None]) -> Settings:
    """The settings by the file that is there; raises ConfigurationError where something else was
    asked for."""
    own = os.environ.get("CANDLECAST_CONFIG") or str(file)
    os.environ["CANDLECAST_CONFIG"] = own
    if Path(own).resolve() != file.resolve():
        raise ConfigurationError(
            f"{file} is there from an earlier start, and CANDLECAST_CONFIG names {own}: unset that "
            f"to go by {file}, or move {file} away"
        )
    load_settings.cache_clear()
    settings = load_settings()
    typer.echo(f"ok      settings: as {file} says")
    if _overridden(settings.ingest, given) != settings.ingest:
        raise ConfigurationError(
            f"{file} says otherwise in [ingest]: change it there, or move the file away and start"
        )
    return settings


def _overridden(ingest: Ingest, given: dict[str, str | None]) -> Ingest:
    symbols, timeframe = listed(given["symbols"]), listed(given["timeframe"])
    named = {"source": given["source"], "symbols": symbols, "intervals": timeframe}
    return overridden(ingest, named)


def examine(settings: Settings, asked: Ingest) -> bool:
    """Look at Java, disk, ports, source and broker, a line each; returns whether a broker of our
    own is needed.

    Raises MissingPrerequisite or ConfigurationError at the first that a person has to mend, and
    RetryLater where the source does not answer.
    """
    typer.echo(f"ok      Java: {java_command()}")
    folder = made_folder(settings.warehouse.folder, "warehouse.dir")
    free_mb = shutil.disk_usage(folder).free // 10**6
    if free_mb < LEAST_DISK_MB:
        raise MissingPrerequisite(f"{folder}: {free_mb} MB are free, {LEAST_DISK_MB} are needed")
    typer.echo(f"ok      disk: {free_mb:,} MB free in {folder}")
    shown, stream = settings.dashboard, settings.stream
    require_free(shown.port, shown.host, "dashboard.port")
    require_free(stream.metrics_port, stream.metrics_host, "stream.metrics_port")
    typer.echo(f"ok      ports: {shown.port} (page), {stream.metrics_port} (figures)")
    clock = Clock()
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


def plan(settings: Settings, asked: Ingest, own_broker: bool, file: Path) -> str:
    """What will happen, for a person."""
    shown, folder = settings.dashboard, settings.warehouse.folder
    broker = "a Kafka broker of our own" if own_broker else "your broker"
    lacking, lookback = lacking_fields(asked.source), settings.window.lookback
    timeframes = ", ".join(asked.intervals)
    if settings.promotion.shipped and shipped_fits(asked.intervals[0], lookback, lacking):
        model = "A model that comes with the code predicts at once, marked as unproven."
    else:
        model = f"No model for {timeframes} bars of it comes with the code: `candlecast train`."
    return f"""
{", ".join(asked.symbols)}: bars of {timeframes} from {asked.source}, with {broker}.
Each symbol's last {settings.ingest.backfill_bars:,} bars come first. {model}
All that is kept lies in {folder}, logs in {folder / "logs"}, settings in {file}.
For other commands: export CANDLECAST_CONFIG={file}
The page: http://{shown.host}:{shown.port}
"""


def use(file: Path, settings: Settings, asked: Ingest, servers: str) -> None:
    """Write the settings file, and let the programs go by it.

    It holds what was asked for, where all that is kept lies, and whatever else the user's own file
    says; of the environment, what says otherwise is taken out.
    """
    polled = {"source", "symbols", "intervals", "intervals_of"}
    stated = {
        "kafka": {"bootstrap_servers": servers},
        "ingest": asked.model_dump(include=polled),
        "warehouse": settings.warehouse.model_dump(),
        "registry": settings.registry.model_dump(),
    }
    own = os.environ.get("CANDLECAST_CONFIG")
    tables: dict[str, dict[str, Any]] = tomllib.loads(Path(own).read_text()) if own else {}
    for section, values in stated.items():
        tables[section] = tables.get(section, {}) | values
    lines = [
        "# Written by `candlecast start`, which goes by it from now on; every other setting is as",
        "# in conf/candlecast.toml.",
    ]
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
