"""Drift: do features and residuals still look as they did where the champion was trained?

Residuals are errors over half-widths of prediction intervals, so that a wide market is no drift;
their reference is the newest part of the training range, which they fit. When a distribution has
drifted, `jobs.scoring.stability` says.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conf.errors import NotEnoughBars
from conf.events import event
from conf.state_files import read_state, write_state
from conf.timeframes import TIMEFRAME_MS
from jobs.scoring.kept import FOLDER, opened
from jobs.scoring.stability import MIN_PARTS, MIN_VALUES, Reference
from model.artifact import Artifact
from model.dataset import Span
from model.features import bar_features
from model.forecast import Forecaster
from model.leaders import with_leaders
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
Ints = NDArray[np.int64]
EVERY_S: Final = 3_600
# What counts as "now": so many of the newest bars of each series.
RECENT_BARS: Final = 1_440
# Of the training range the newest bars, over all series, are the reference.
REFERENCE_BARS: Final = 500_000

# A look costs what is new: of a series with gaps, only what lies within twice the time.
_NEWEST_RESIDUALS: Final = """
WITH newest AS (
    SELECT symbol, horizon, max(target) AS last FROM kept.predictions
    WHERE model_version = $version GROUP BY ALL)
SELECT p.horizon, ln(b.close / p.predicted_close) / (ln(p.upper / p.lower) / 2) AS residual
FROM kept.predictions p INNER JOIN newest n
  ON n.symbol = p.symbol AND n.horizon = p.horizon AND p.target > n.last - 2 * $bars * $bar_ms
INNER JOIN kept.closes b
  ON b.symbol = p.symbol AND b.interval = p.interval AND b.time = p.target
WHERE p.model_version = $version AND p.upper > p.lower AND p.lower > 0
QUALIFY row_number() OVER (PARTITION BY p.symbol, p.horizon ORDER BY p.target DESC) <= $bars
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
            measured = measure_drift(registry.load(version), warehouse_dir, watch, alarm)
        except NotEnoughBars:
            continue
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
    artifact: Artifact, warehouse_dir: Path, watch: float, alarm: float
) -> list[Drift]:
    """The drift of every feature and of the residuals at every horizon."""
    manifest, version = artifact.manifest, artifact.version
    newest = read_recent(warehouse_dir, artifact)
    features, _ = feature_values(artifact, newest, manifest.trained_until, None)
    now = {("feature", name): values for name, values in features.items()}
    now |= {
        ("residual", f"horizon {horizon}"): values
        for horizon, values in _scored_residuals(warehouse_dir, manifest.interval, version).items()
    }
    found = []
    for (kind, name), then in kept_references(artifact, warehouse_dir).items():
        values = now.get((kind, name), np.empty(0))
        psi, verdict = (
            (float("nan"), "too few values") if then is None else then.verdict(values, watch, alarm)
        )
        found.append(Drift(manifest.interval, version, kind, name, psi, verdict))
    return found


Named = dict[tuple[str, str], Reference | None]


def kept_references(artifact: Artifact, warehouse_dir: Path) -> Named:
    """The distributions of the champion's training range; made once, and kept in a file."""
    file = warehouse_dir / FOLDER / f"drift-{artifact.manifest.interval}.json"
    state = read_state(file)
    if state.get("version") == artifact.version:
        with suppress(KeyError, TypeError, ValueError):  # of another form: made anew
            rows = state["references"]
            return {(kind, name): then and Reference(**then) for kind, name, then in rows}
    found = references(artifact, warehouse_dir)
    rows = [(kind, name, then and asdict(then)) for (kind, name), then in found.items()]
    write_state(file, {"version": artifact.version, "references": rows})
    return found


def references(artifact: Artifact, warehouse_dir: Path) -> Named:
    """The distributions of every feature and of the residuals; None where there are too few."""
    manifest = artifact.manifest
    try:
        bars = read_warehouse(
            warehouse_dir, manifest.interval, None, manifest.trained_until, REFERENCE_BARS
        )
    except NotEnoughBars:  # it was trained on bars of a file
        bars = []
    read = with_leaders(with_archived_news(bars, warehouse_dir), manifest.leaders_of)
    series = [one for one in read if one.symbol in manifest.symbols]
    features, times = feature_values(
        artifact, series, manifest.trained_from, manifest.trained_until
    )
    found: Named = {
        ("feature", name): _reference(values, times, manifest.interval)
        for name, values in features.items()
    }
    for horizon, (errors, at) in _validation_residuals(artifact, series).items():
        found["residual", f"horizon {horizon}"] = _reference(errors, at, manifest.interval)
    return found


def _reference(values: Floats, times: Ints, interval: str) -> Reference | None:
    values, times = values[np.isfinite(values)], times[np.isfinite(values)]
    if len(values) < MIN_VALUES:
        return None
    bars = (times - times.min()) // TIMEFRAME_MS[interval]
    length = max(1, min(RECENT_BARS, int(bars.max() + 1) // MIN_PARTS))
    return Reference.of(values, bars // length, length / RECENT_BARS)


def read_recent(warehouse_dir: Path, artifact: Artifact) -> list[Series]:
    """The newest bars of each series, with news and leaders, from which "now" is computed."""
    manifest = artifact.manifest
    bars = RECENT_BARS + 2 * manifest.lookback
    query = "SELECT count(DISTINCT symbol) AS n FROM kept.closes WHERE interval = ?"
    with opened(warehouse_dir) as connection:
        ((count,),) = connection.execute(query, [manifest.interval]).fetchall()
    most = max(int(count), 1) * bars
    newest = read_warehouse(warehouse_dir, manifest.interval, max_bars=most)
    return with_leaders(with_archived_news(newest, warehouse_dir), manifest.leaders_of)


def feature_values(
    artifact: Artifact, series: list[Series], since_ms: int, until_ms: int | None
) -> tuple[dict[str, Floats], Ints]:
    """Each feature's values over a range of time, and their times; the newest alone without end."""
    manifest, names = artifact.manifest, artifact.manifest.feature_names
    parts: list[tuple[Floats, Ints]] = [(np.empty((0, len(names))), np.empty(0, np.int64))]
    for own in series:
        features = bar_features(own.bars, manifest.lookback, names)[0].astype(float)
        times = own.open_times(np.arange(len(features)))
        chosen = ~np.isnan(features).any(axis=1) & (times >= since_ms)
        rows = np.flatnonzero(chosen if until_ms is None else chosen & (times < until_ms))
        rows = rows[-RECENT_BARS:] if until_ms is None else rows
        parts.append((features[rows], times[rows]))
    values = np.concatenate([part for part, _ in parts])
    return dict(zip(names, values.T, strict=True)), np.concatenate([at for _, at in parts])


def _validation_residuals(
    artifact: Artifact, series: list[Series]
) -> dict[int, tuple[Floats, Ints]]:
    """Errors over half-widths by horizon, and their times, where intervals were calibrated."""
    manifest, forecaster = artifact.manifest, Forecaster(artifact)
    part = Span(manifest.validated_from, manifest.trained_until)
    known = [forecast_outcomes(one, part, {LSTM: forecaster}) for one in series]
    empty = np.empty(0), np.empty(0, np.int64)
    if not known:
        return dict.fromkeys(manifest.horizons, empty)
    outcomes = joined(known)
    by_horizon = {horizon: outcomes.at(horizon) for horizon in manifest.horizons}
    return {horizon: (own.residuals(LSTM), own.time) for horizon, own in by_horizon.items()}


def _scored_residuals(warehouse_dir: Path, interval: str, version: str) -> dict[int, Floats]:
    values = {"version": version, "bars": RECENT_BARS, "bar_ms": TIMEFRAME_MS[interval]}
    with opened(warehouse_dir) as connection:
        rows = connection.execute(_NEWEST_RESIDUALS, values).df()
    found = rows.groupby("horizon")["residual"]
    return {int(str(horizon)): of_it.to_numpy(float) for horizon, of_it in found}
