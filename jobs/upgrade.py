"""`candlecast upgrade --check`: what this version makes of what another has left.

It writes nothing, and asks a copy of the registry. docs/faults.md says in which order programs are
upgraded.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final

import pyarrow.parquet as pq
import typer

from conf.errors import ArtifactMismatch, CandlecastError, ConfigurationError, DataLoss
from conf.settings import Settings, load_settings
from conf.timeframes import TIMEFRAME_MS
from ingest.sources.candles import lacking_fields
from model.champions import Champions
from model.mlflow_client import sqlite_file
from model.registry import Registry
from store.backup import copy_database
from store.files import BATCH
from store.readable import TableFiles
from store.schema import TABLES, Table
from store.table_folder import file_system
from stream.query import STATE_NOTE, require_state

ORDER: Final = (
    "Upgrade who reads before who writes: page, score, housekeeping and retrain, then the stream, "
    "then ingest."
)


def upgrade(
    check: Annotated[bool, typer.Option("--check", help="look, and write nothing")] = False,
) -> None:
    """Say what this version makes of settings, warehouse, checkpoint and registry."""
    if not check:
        raise ConfigurationError(
            "each program takes up what is there when it starts; --check says beforehand how"
        )
    settings = load_settings()
    typer.echo("ok      settings: each is known")
    parts = {"warehouse": warehouse, "checkpoint": checkpoint, "registry": registry}
    troubles = [one for name, look in parts.items() for one in _looked(name, look, settings)]
    typer.echo(ORDER)
    if troubles:
        worst = next((one for one in troubles if isinstance(one, DataLoss)), troubles[0])
        raise type(worst)(f"before the upgrade, see to what is said above ({len(troubles)} of it)")


Look = Callable[[Settings], Iterator[str | CandlecastError]]


def _looked(name: str, look: Look, settings: Settings) -> Iterator[CandlecastError]:
    """Say what was found of a part; yields what needs a person."""
    try:
        for found in look(settings):
            typer.echo(f"{'ok  ' if isinstance(found, str) else 'ACT '}    {name}: {found}")
            if not isinstance(found, str):
                yield found
    except CandlecastError as error:
        typer.echo(f"ACT     {name}: {error}")
        yield error


def warehouse(settings: Settings) -> Iterator[str | CandlecastError]:
    """Which tables there are, and which columns older files lack."""
    folder = settings.warehouse.folder
    for table in TABLES.values():
        files = TableFiles(folder, table)
        found = files.all()
        for path, reason in files.left_aside().items():
            yield f"{path} can't be read ({reason}): it is left aside, as before"
        if not found:
            continue
        lacking = [set(table.columns) - {name for name, _ in one.columns} for one in found]
        older = ", ".join(name for name in table.columns if any(name in one for one in lacking))
        of_before = f"; {sum(map(bool, lacking))} lack {older}: null there" if older else ""
        yield f"{table.name}: {len(found)} files{of_before}"
        if unknown := _unknown_columns(table, Path(found[-1].path)):
            yield ConfigurationError(
                f"{table.name} was written by a newer version, which has {unknown} too: "
                "housekeeping of this one would drop that"
            )


def _unknown_columns(table: Table, file: Path) -> str:
    names = set(pq.read_schema(file).names) - {*table.columns, BATCH.rstrip("=")}
    return ", ".join(sorted(names))


def checkpoint(settings: Settings) -> Iterator[str | CandlecastError]:
    """Whether the stream goes on where it stands."""
    directory = settings.warehouse.checkpoint_dir
    files, path = file_system(f"{directory}/{STATE_NOTE}")
    if not files.get_file_info(path).is_file:
        yield f"none in {directory}: the stream reads the topics from their beginning"
        return
    with files.open_input_stream(path) as note:
        require_state(note.read().decode(), settings)
    yield f"the stream goes on where {directory} stands"


def registry(settings: Settings) -> Iterator[str | CandlecastError]:
    """Which champions serve on, and why others do not."""
    uri = settings.registry.tracking_uri
    file = sqlite_file(uri)
    if file is not None and not file.exists():
        yield f"none at {uri}"
        return
    with tempfile.TemporaryDirectory() as folder:
        if file is not None:
            copy_database(file, Path(folder) / "mlflow.db")
            uri = f"sqlite:///{folder}/mlflow.db"
        models = Registry(uri, settings.registry.artifact_dir)
        source = settings.ingest.source
        lacking = dict.fromkeys(lacking_fields(source), source)
        lookback, market = settings.window.lookback, settings.market
        champions = Champions(models, TIMEFRAME_MS, lookback, market, lacking)
        for timeframe in TIMEFRAME_MS:
            version = models.champion(timeframe)
            if version is None:
                continue
            try:
                champions.require_servable(models.load(version), timeframe)
            except ArtifactMismatch as error:
                yield ArtifactMismatch(f"{error}: the one before it serves, or none")
            else:
                yield f"{version} serves on"
