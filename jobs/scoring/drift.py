"""Drift: do features and residuals still look as they did where the champion was trained?

Population stability index over tenths of the training range: the sum of (now - then) ln(now / then)
of their shares. Residuals are errors over half-widths of prediction intervals, so that a wide
market is no drift; their reference is the newest part of the training range, which they fit.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conf.errors import NotEnoughBars
from conf.events import event
from conf.timeframes import TIMEFRAME_MS
from model.artifact import Artifact
from model.dataset import Span
from model.features import bar_features
from model.forecast import Forecaster
from model.outcomes import LSTM, joined
from model.registry import Registry
from model.series import Series
from model.validate import forecast_outcomes
from store.archived_news import with_archived_news
from store.files import replace_rows
from store.schema import DRIFT
from store.series import read_warehouse
from store.views import open_duckdb, paths_of, read_sql

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
BINS: Final = 10
# Shares of fewer values are noise: PSI of 10 bins then exceeds 0.1 by chance.
MIN_VALUES: Final = 300
EVERY_S: Final = 3_600
# What counts as "now": so many of the newest bars of each series.
RECENT_BARS: Final = 1_440
# An empty bin would make the index infinite.
_SMALLEST_SHARE: Final = 1e-4

_NEWEST_RESIDUALS: Final = """
SELECT horizon, ln(actual_close / predicted_close) / (ln(upper / lower) / 2) AS residual
FROM scored WHERE model_version = ? AND upper > lower
QUALIFY row_number() OVER (PARTITION BY symbol, horizon ORDER BY target_time DESC) <= ?
"""


@dataclass(frozen=True)
class Drift:
    """One distribution then and now; `verdict` is stable, watch, drifted or too few values."""

    interval: str
    model_version: str
    kind: str
    name: str
    psi: float
    verdict: str


def population_stability(then: Floats, now: Floats) -> float:
    """The index of two samples, over tenths of the first; 0 where they are alike.

    >>> population_stability(np.arange(1000.0), np.arange(1000.0)) < 0.001
    True
    >>> population_stability(np.arange(1000.0), np.arange(1000.0) + 500) > 0.25
    True
    """
    edges = np.unique(np.quantile(then, np.linspace(0, 1, BINS + 1)[1:-1]))
    shares = [
        np.maximum(
            np.bincount(np.searchsorted(edges, x), minlength=len(edges) + 1) / len(x),
            _SMALLEST_SHARE,
        )
        for x in (then, now)
    ]
    return float(np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0])))


def update_drift(
    warehouse_dir: Path,
    registry: Registry,
    watch: float,
    alarm: float,
    now: Callable[[], float] = time.time,
) -> list[Drift]:
    """Measure the drift of each champion, once an hour, and keep it in the table `drift`."""
    found: list[Drift] = []
    for timeframe in TIMEFRAME_MS:
        version = registry.champion(timeframe)
        if version is None or not _is_due(warehouse_dir, version, now()):
            continue
        try:
            bars = read_warehouse(warehouse_dir, timeframe)
        except NotEnoughBars:
            continue
        series = with_archived_news(bars, warehouse_dir)
        measured = measure_drift(registry.load(version), series, warehouse_dir, watch, alarm)
        rows = pd.DataFrame([asdict(one) for one in measured]).assign(
            checked_at=datetime.fromtimestamp(now(), UTC)
        )
        replace_rows(warehouse_dir, DRIFT, timeframe, rows)
        found += measured
        drifted = ",".join(one.name for one in measured if one.verdict == "drifted")
        event(log, "drift", model=version, drifted=drifted or "none")
    return found


def _is_due(warehouse_dir: Path, version: str, now_s: float) -> bool:
    query = "SELECT max(epoch_ms(checked_at)) FROM drift WHERE model_version = ?"
    files = paths_of(warehouse_dir, DRIFT.name)
    with open_duckdb(warehouse_dir, files) as connection:
        ((checked_ms,),) = connection.execute(query, [version]).fetchall()
    # A clock that was set back must not stop it.
    return checked_ms is None or not 0 <= now_s - checked_ms / 1000 < EVERY_S


def drifted(warehouse_dir: Path, timeframe: str) -> list[str]:
    """Why a retraining is due, one sentence each; empty where nothing has drifted."""
    query = "SELECT * FROM drift WHERE interval = ? AND verdict = 'drifted' ORDER BY psi DESC"
    rows: Iterator[Any] = read_sql(warehouse_dir, query, [timeframe]).itertuples()
    return [f"{row.kind} {row.name} of {row.model_version}: PSI {row.psi:.2f}" for row in rows]


def measure_drift(
    artifact: Artifact, series: list[Series], warehouse_dir: Path, watch: float, alarm: float
) -> list[Drift]:
    """The drift of every feature and of the residuals at every horizon."""
    manifest = artifact.manifest
    samples = [("feature", *sample) for sample in _feature_samples(artifact, series)]
    then = _validation_residuals(artifact, series)
    now = _scored_residuals(warehouse_dir, artifact.version)
    empty = np.empty(0)
    for horizon in manifest.horizons:
        before, after = (found.get(horizon, empty) for found in (then, now))
        samples.append(("residual", f"horizon {horizon}", before, after))
    return [
        Drift(manifest.interval, artifact.version, kind, name, *_verdict(a, b, watch, alarm))
        for kind, name, a, b in samples
    ]


def _verdict(then: Floats, now: Floats, watch: float, alarm: float) -> tuple[float, str]:
    if min(len(then), len(now)) < MIN_VALUES:
        return float("nan"), "too few values"
    psi = population_stability(then, now)
    return psi, "drifted" if psi > alarm else "watch" if psi > watch else "stable"


def _feature_samples(
    artifact: Artifact, series: list[Series]
) -> Iterator[tuple[str, Floats, Floats]]:
    """Each feature's name, its values over the training range, and over the newest bars since."""
    manifest, names = artifact.manifest, artifact.manifest.feature_names
    then: list[Floats] = []
    now: list[Floats] = []
    for own in series:
        features = bar_features(own.bars, manifest.lookback, names)[0].astype(float)
        times = own.open_times(np.arange(len(features)))
        known = ~np.isnan(features).any(axis=1)
        trained = (times >= manifest.trained_from) & (times < manifest.trained_until)
        if own.symbol in manifest.symbols:
            then.append(features[known & trained])
        now.append(features[known & (times >= manifest.trained_until)][-RECENT_BARS:])
    before, after = np.concatenate(then or [features[:0]]), np.concatenate(now)
    return zip(names, before.T, after.T, strict=True)


def _validation_residuals(artifact: Artifact, series: list[Series]) -> dict[int, Floats]:
    """Errors over half-widths by horizon, where the intervals were calibrated."""
    manifest, forecaster = artifact.manifest, Forecaster(artifact)
    part = Span(manifest.validated_from, manifest.trained_until)
    known = [
        forecast_outcomes(one, part, {LSTM: forecaster})
        for one in series
        if one.symbol in manifest.symbols
    ]
    if not known:
        return {}
    outcomes = joined(known)
    return {horizon: outcomes.at(horizon).residuals(LSTM) for horizon in manifest.horizons}


def _scored_residuals(warehouse_dir: Path, version: str) -> dict[int, Floats]:
    rows = read_sql(warehouse_dir, _NEWEST_RESIDUALS, [version, RECENT_BARS])
    found = rows.groupby("horizon")["residual"]
    return {int(str(horizon)): values.to_numpy(float) for horizon, values in found}
