"""Models that never served leave after a while: artifact, MLflow run, report."""

import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from conf.timeframes import TIMEFRAME_MS
from model.decisions import Arena, deciding
from model.registry import Registry


def prune_models(
    arena: Arena, reports_dir: Path, before_ms: int, predicted_by: Callable[[], Collection[str]]
) -> list[str]:
    """Remove the models that were registered before `before_ms` (epoch ms) and never served.

    Those in `predicted_by` stay, too: versions that a stored prediction names. Returns the versions
    that went. Raises AlreadyRunning while a champion is being chosen.
    """
    registry = arena.registry
    old = [one.version for one in registry.models() if one.registered_at < before_ms]
    # Asked for before the choice is held: a training that ends meanwhile must not wait for it.
    named = set(predicted_by()) if set(old) - _in_use(registry) else set()
    with deciding(arena.promotions_dir):
        gone = [version for version in old if version not in _in_use(registry) | named]
        for version in gone:
            # The registry forgets it last: what a kill leaves over is removed by the next time.
            shutil.rmtree(reports_dir / version, ignore_errors=True)
            registry.remove(version)
    return gone


def _in_use(registry: Registry) -> set[str]:
    """The versions that serve or ever did, among them the predecessor of each champion."""
    served = {m.version for m in registry.models() if m.is_champion or m.ever_served}
    before = {registry.replaced_by_champion(timeframe) for timeframe in TIMEFRAME_MS}
    return served | {version for version in before if version is not None}
