"""Interval factors from live coverage; the stream reads them together with the champion.

Only live outcomes count, each once, whenever it becomes known: a bar of one symbol that comes an
hour late, too. What is counted and the factors that follow are kept in one step; the registry is
told what is kept.
"""

import itertools
import logging
from pathlib import Path
from typing import Final

import duckdb
import pandas as pd

from conf.events import event
from conf.timeframes import TIMEFRAME_MS
from jobs.scoring.kept import opened, transaction
from jobs.scoring.scoreboard import take_in_all
from model.artifact import Manifest
from model.intervals import QUANTILES, adapt_factor, ends_of
from model.registry import Registry
from store.schema import within

log = logging.getLogger(__name__)

# All live outcomes at the target times of which one became known after the look `$since`; symbols
# of one minute rise and fall together: a minute counts as one outcome.
_OUTCOMES: Final = f"""
WITH new AS (
    SELECT target FROM kept.predictions WHERE look > $since AND interval = $interval
    UNION SELECT time FROM kept.closes WHERE look > $since AND interval = $interval)
SELECT * EXCLUDE (look, at_once), 1 / at_once AS share FROM (
    SELECT p.horizon, b.close, p.lower, p.upper, {", ".join(f"p.{name}" for name in QUANTILES)},
           greatest(p.look, b.look) AS look,
           count(*) OVER (PARTITION BY p.horizon, p.target) AS at_once
    FROM kept.predictions p INNER JOIN kept.closes b
      ON b.symbol = p.symbol AND b.interval = p.interval AND b.time = p.target
    WHERE p.model_version = $version AND NOT p.backfilled AND p.interval = $interval
      AND p.target IN (SELECT target FROM new)
      AND p.target >= (SELECT min(target) FROM new))
WHERE look > $since
"""


def adapt_intervals(warehouse_dir: Path, registry: Registry, rate: float) -> dict[str, int]:
    """Move the factors of each champion by the outcomes that became known since the last time.

    Returns how many outcomes each version was moved by.
    """
    take_in_all(warehouse_dir)
    used = {}
    for timeframe in TIMEFRAME_MS:
        version = registry.champion(timeframe)
        if version is not None:
            used[version] = _adapt(warehouse_dir, registry, version, rate)
    return used


def _adapt(warehouse_dir: Path, registry: Registry, version: str, rate: float) -> int:
    manifest, told = registry.load(version).manifest, registry.interval_factors(version)
    with opened(warehouse_dir) as connection, transaction(connection):
        before, since = _kept_factors(connection, version, told, manifest.n_intervals)
        values = {"version": version, "interval": manifest.interval, "since": since}
        rows = connection.execute(_OUTCOMES, values).df()
        factors = _moved(before, manifest, rows, rate)
        connection.execute("DELETE FROM kept.factors WHERE model_version = ?", [version])
        connection.execute(
            "INSERT INTO kept.factors SELECT ?, ?, look FROM kept.state", [version, factors]
        )
    if tuple(factors) != (told or (1.0,) * len(factors)):
        registry.set_interval_factors(version, tuple(factors))
        shown = ",".join(f"{factor:.4g}" for factor in factors)
        event(log, "interval_factors", model=version, factors=shown, outcomes=len(rows))
    return len(rows)


def _kept_factors(
    connection: duckdb.DuckDBPyConnection,
    version: str,
    told: tuple[float, ...] | None,
    n_intervals: int,
) -> tuple[list[float], int]:
    """The factors, and the look up to which outcomes are in them."""
    query = "SELECT factors, look FROM kept.factors WHERE model_version = ?"
    kept = connection.execute(query, [version]).fetchone()
    if kept is not None and len(kept[0]) == n_intervals:
        return list(kept[0]), int(kept[1])
    if told is None:
        return [1.0] * n_intervals, 0
    # What the registry holds has counted outcomes that nobody remembers: those there are, are in.
    look = connection.execute("SELECT look FROM kept.state").fetchone()
    return list(told), int(look[0]) if look else 0


def _moved(before: list[float], manifest: Manifest, rows: pd.DataFrame, rate: float) -> list[float]:
    factors = []
    intervals = itertools.product(manifest.horizons, manifest.calibrated)
    for factor, (horizon, coverage) in zip(before, intervals, strict=True):
        low, high = ends_of(coverage, manifest.coverage)
        chosen = rows[(rows["horizon"] == horizon) & rows[low].notna()]
        inside = within(chosen["close"], chosen[low], chosen[high]).to_numpy()
        moved = adapt_factor(factor, inside, coverage, rate * chosen["share"].to_numpy())
        factors.append(moved if len(chosen) else factor)
    return factors
