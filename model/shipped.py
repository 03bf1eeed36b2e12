"""The small models that come with the code: they serve, marked as unproven, before any other does.

`model/shipped/TIMEFRAME` is an artifact, beside it its report, `TIMEFRAME-led` one that reads the
bars of leaders; `make shipped` makes them anew.
"""

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Final

from conf.events import event
from conf.sections import Market
from model.artifact import MANIFEST_FILE, Manifest, read_manifest
from model.decisions import Arena, Decision, deciding, record
from model.features import reading
from model.promotion import Verdict

log = logging.getLogger(__name__)

SHIPPED_DIR: Final = Path(__file__).parent / "shipped"
REASON: Final = (
    "it comes with the code and was trained on other bars: it serves as unproven until a model has "
    "passed the gate on these"
)


def shipped_fits(timeframe: str, lookback: int, lacking: Collection[str]) -> bool:
    """Whether a shipped model can serve a stream that looks back so many bars, of a source that
    lacks some fields of a bar."""
    folder = SHIPPED_DIR / timeframe
    if not folder.is_dir():
        return False
    manifest = read_manifest(folder)
    return manifest.lookback == lookback and not reading(manifest.feature_names, lacking)


def serve_shipped(arena: Arena, market: Market, served_before: Collection[str] = ()) -> list[str]:
    """Let the shipped models serve at the timeframes without a champion, but for those of
    `served_before`, whose registry is away; returns their versions.

    They are registered like any other, and marked as unproven in every row that they predict. One
    that reads leaders serves where `market` names those that it was trained with; then the one that
    reads none is its substitute.
    """
    served: list[str] = []
    for manifest_file in sorted(SHIPPED_DIR.glob(f"*/{MANIFEST_FILE}")):
        folder = manifest_file.parent
        manifest = read_manifest(folder)
        if manifest.interval in served_before:
            continue
        if any(market.of(symbol) != led for symbol, led in manifest.leaders.items()):
            continue
        with deciding(arena.promotions_dir):
            if arena.registry.champion(manifest.interval) in (None, *served):
                served.append(_serve(arena, folder, manifest))
    return served


def _serve(arena: Arena, folder: Path, manifest: Manifest) -> str:
    timeframe, until = manifest.interval, manifest.trained_until
    version = arena.registry.register(folder, timeframe)
    record(
        arena, Decision("shipped", timeframe, version, None, Verdict(False, REASON, until, until))
    )
    arena.registry.promote(version, unproven=True)
    version = arena.registry.canonical(version)
    event(log, "shipped", model=version)
    return version
