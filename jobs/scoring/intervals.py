"""Interval factors from live coverage; the stream reads them together with the champion.

Only live outcomes count, each once: their intervals were known before the target time.
"""

import logging
from pathlib import Path
from typing import Final

from conf.events import event
from conf.timeframes import TIMEFRAME_MS
from model.intervals import adapt_factor
from model.registry import Registry
from store.views import read_sql

log = logging.getLogger(__name__)

# A note in the registry: outcomes up to this target time (epoch ms) are in the factors already.
SCORED_UNTIL: Final = "intervals_scored_until"

_OUTCOMES: Final = """
SELECT horizon, epoch_ms(target_time) AS target_time, covered FROM scored
WHERE model_version = ? AND NOT backfilled AND epoch_ms(target_time) > ?
ORDER BY target_time, symbol
"""


def adapt_intervals(warehouse_dir: Path, registry: Registry, rate: float) -> dict[str, int]:
    """Move the factors of each champion by the outcomes since the last time.

    Returns how many outcomes each version was moved by.
    """
    used = {}
    for timeframe in TIMEFRAME_MS:
        version = registry.champion(timeframe)
        if version is not None:
            used[version] = _adapt(warehouse_dir, registry, version, rate)
    return used


def _adapt(warehouse_dir: Path, registry: Registry, version: str, rate: float) -> int:
    timeframe = version.split("-")[0]
    tags = next(m.tags for m in registry.models(timeframe) if m.version == version)
    rows = read_sql(warehouse_dir, _OUTCOMES, [version, int(tags.get(SCORED_UNTIL, 0))])
    if rows.empty:
        return 0
    manifest = registry.load(version).manifest
    before = registry.interval_factors(version) or (1.0,) * len(manifest.horizons)
    factors = list(before)
    for place, horizon in enumerate(manifest.horizons):
        chosen = rows[rows["horizon"] == horizon]
        covered = chosen["covered"].to_numpy(bool)
        if len(covered):
            # Symbols of one minute rise and fall together: a minute counts as one outcome.
            share = chosen["target_time"].nunique() / len(covered)
            factors[place] = adapt_factor(factors[place], covered, manifest.coverage, rate * share)
    registry.set_interval_factors(version, tuple(factors))
    registry.tag(version, SCORED_UNTIL, str(rows["target_time"].max()))
    shown = ",".join(f"{factor:.4g}" for factor in factors)
    event(log, "interval_factors", model=version, factors=shown, outcomes=len(rows))
    return len(rows)
