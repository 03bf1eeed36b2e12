"""The functions behind `candlecast models`, `candlecast promote` and `candlecast rollback`."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from conf.errors import ConfigurationError
from conf.settings import load_settings
from conf.timeframes import TIMEFRAME_MS
from model.decisions import Action, Arena, Decision, deciding, record
from model.forecast import Forecaster
from model.promotion import NOTHING, Verdict
from model.registry import RegisteredModel


def models() -> None:
    """Every model with what was decided about it, champions marked."""
    print_models(Console(), Arena.of(load_settings()).registry.models())


def promote(
    version: Annotated[str, typer.Argument(help="such as 1m-3")],
    reason: Annotated[str, typer.Option(help="why; kept with the decision")],
) -> None:
    """Make a version the champion, past the gate."""
    champion = promote_version(Arena.of(load_settings()), version, reason)
    Console().print(f"champion: {champion}", markup=False)


def rollback(
    interval: Annotated[str, typer.Option(help="whose champion")] = "1m",
    reason: Annotated[str, typer.Option(help="why; kept with the decision")] = "",
) -> None:
    """Put the champion's predecessor back in service."""
    champion = roll_back(Arena.of(load_settings()), interval, reason)
    Console().print(f"champion: {champion}", markup=False)


def print_models(console: Console, registered: list[RegisteredModel]) -> None:
    """Every model, the champions marked, with what was decided about it and why."""
    if not registered:
        console.print("no models yet: `candlecast train` makes one")
        return
    table = Table()
    for column in ("version", "registered (UTC)", "state", "reason"):
        table.add_column(column, overflow="fold")
    for model in registered:
        since = datetime.fromtimestamp(model.registered_at / 1000, UTC)
        table.add_row(
            model.version,
            f"{since:%Y-%m-%d %H:%M}",
            "champion" if model.is_champion else "",
            model.tags.get("reason", "not judged yet"),
        )
    console.print(table)


def promote_version(arena: Arena, version: str, reason: str) -> str:
    """Make `version` the champion because a person says so; returns it as predictions carry it.

    Raises ArtifactMismatch where its files are not what was registered, and ConfigurationError
    where there is no such version.
    """
    registry = arena.registry
    with deciding(arena.promotions_dir):
        tags = registry.tags(version)
        # A person may serve what the gate rejected, but it stays marked as what it is.
        unproven = tags.get("unproven") == "true" or tags.get("promoted") == "false"
        _record_by_hand(arena, "promote", version, reason)
        registry.promote(version, unproven=unproven)
    return registry.canonical(version)


def roll_back(arena: Arena, timeframe: str, reason: str = "") -> str:
    """Put the champion's predecessor back in service; returns it.

    Raises ConfigurationError where the champion of `timeframe` had none.
    """
    if timeframe not in TIMEFRAME_MS:
        raise ConfigurationError(f"interval {timeframe}: expected one of {', '.join(TIMEFRAME_MS)}")
    registry = arena.registry
    with deciding(arena.promotions_dir):
        former = registry.replaced_by_champion(timeframe)
        if former is None:
            raise ConfigurationError(f"the champion of {timeframe} bars replaced no other")
        why = reason or f"rollback from {registry.champion(timeframe)}"
        _record_by_hand(arena, "rollback", former, why)
        registry.restore(former)
    return former


def _record_by_hand(arena: Arena, action: Action, version: str, why: str) -> None:
    artifact = arena.registry.load(version)
    Forecaster(artifact)  # raises where the stream would reject it
    manifest = artifact.manifest
    until, proven = manifest.trained_until, arena.registry.proven(version) or NOTHING
    verdict = Verdict(True, why, until, until, proven=proven)
    champion = arena.registry.champion(manifest.interval)
    record(arena, Decision(action, manifest.interval, version, champion, verdict))
