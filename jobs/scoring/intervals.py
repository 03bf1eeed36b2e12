"""Interval factors from live coverage: what the stream reads together with the champion.

Only live outcomes count, each once: the interval of a prediction was known before its target time.
"""

import logging
from pathlib import Path
from typing import Final

import duckdb
import numpy as np

from conf.timeframes import TIMEFRAME_MS
from model.intervals import adapt_factor
from model.registry import Registry
from store.views import open_duckdb

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
    used: dict[str, int] = {}
    with open_duckdb(warehouse_dir) as connection:
        for timeframe in TIMEFRAME_MS:
            version = registry.champion(timeframe)
            if version is not None:
                used[version] = _adapt(connection, registry, version, rate)
    return used


def _adapt(
    connection: duckdb.DuckDBPyConnection, registry: Registry, version: str, rate: float
) -> int:
    timeframe = version.split("-")[0]
    tags = next(m.tags for m in registry.models(timeframe) if m.version == version)
    rows = connection.execute(_OUTCOMES, [version, int(tags.get(SCORED_UNTIL, 0))]).fetchnumpy()
    if not len(rows["horizon"]):
        return 0
    manifest = registry.load(version).manifest
    before = registry.interval_factors(version) or (1.0,) * len(manifest.horizons)
    factors = list(before)
    for place, horizon in enumerate(manifest.horizons):
        chosen = rows["horizon"] == horizon
        covered = np.asarray(rows["covered"][chosen], bool)
        if len(covered):
            # Symbols of one minute rise and fall together: a minute counts as one outcome.
            share = len(np.unique(rows["target_time"][chosen])) / len(covered)
            factors[place] = adapt_factor(factors[place], covered, manifest.coverage, rate * share)
    registry.set_interval_factors(version, tuple(factors))
    registry.tag(version, SCORED_UNTIL, str(np.max(rows["target_time"])))
    log.info("interval_factors=%s model=%s outcomes=%d", factors, version, len(rows["horizon"]))
    return len(rows["horizon"])
