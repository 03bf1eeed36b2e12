"""The functions behind `candlecast models`, `candlecast promote` and `candlecast rollback`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from conf.errors import ConfigurationError
from conf.settings import Settings, load_settings
from conf.timeframes import TIMEFRAME_MS
from model.decisions import Action, Decision, deciding, now, record
from model.promotion import Verdict
from model.registry import RegisteredModel, Registry


def models() -> None:
    """Every model with what was decided about it, champions marked."""
    settings = load_settings()
    print_models(Console(), _registry(settings).models())


def promote(
    version: Annotated[str, typer.Argument(help="such as 1m-3")],
    reason: Annotated[str, typer.Option(help="why; kept with the decision")],
) -> None:
    """Make a version the champion, past the gate."""
    settings = load_settings()
    champion = promote_version(_registry(settings), _promotions_dir(settings), version, reason)
    Console().print(f"champion: {champion}", markup=False)


def rollback(
    interval: Annotated[str, typer.Option(help="whose champion")] = "1m",
    reason: Annotated[str, typer.Option(help="why; kept with the decision")] = "",
) -> None:
    """Put the champion's predecessor back in service."""
    settings = load_settings()
    champion = roll_back(_registry(settings), _promotions_dir(settings), interval, reason)
    Console().print(f"champion: {champion}", markup=False)


def _registry(settings: Settings) -> Registry:
    return Registry(settings.registry.tracking_uri, settings.registry.artifact_dir)


def _promotions_dir(settings: Settings) -> Path:
    return settings.warehouse.folder / "promotions"


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


def promote_version(registry: Registry, promotions_dir: Path, version: str, reason: str) -> str:
    """Make `version` the champion because a person says so; returns it as predictions carry it.

    Raises ArtifactMismatch where its files are not what was registered, and ConfigurationError
    where there is no such version.
    """
    with deciding(promotions_dir):
        timeframe = registry.load(version).manifest.interval
        known = {model.version: model.tags for model in registry.models(timeframe)}
        tags = known[registry.canonical(version)]
        # a person may serve what the gate rejected, but it stays marked as what it is
        unproven = tags.get("unproven") == "true" or tags.get("promoted") == "false"
        _by_hand(registry, promotions_dir, "promote", timeframe, version, reason)
        registry.promote(version, unproven=unproven)
    return registry.canonical(version)


def roll_back(registry: Registry, promotions_dir: Path, timeframe: str, reason: str = "") -> str:
    """Put the champion's predecessor back in service; returns it.

    Raises ConfigurationError where the champion of `timeframe` had none.
    """
    if timeframe not in TIMEFRAME_MS:
        raise ConfigurationError(f"interval {timeframe}: expected one of {', '.join(TIMEFRAME_MS)}")
    with deciding(promotions_dir):
        former = registry.replaced_by_champion(timeframe)
        if former is None:
            raise ConfigurationError(f"the champion of {timeframe} bars replaced no other")
        why = reason or f"rollback from {registry.champion(timeframe)}"
        _by_hand(registry, promotions_dir, "rollback", timeframe, former, why)
        registry.restore(former)
    return former


def _by_hand(
    registry: Registry, promotions_dir: Path, action: Action, timeframe: str, version: str, why: str
) -> None:
    trained_until = registry.load(version).manifest.trained_until
    verdict = Verdict(True, why, trained_until, trained_until)
    champion = registry.champion(timeframe)
    record(promotions_dir, registry, Decision(now(), action, timeframe, version, champion, verdict))
