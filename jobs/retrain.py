"""Self-learning: train a challenger when it is time or the champion does badly, and let it compete.

`candlecast retrain --once` looks, acts and ends; without it the job stays and looks every few
minutes. A run that dies half-way leaves the champion as it was: the alias moves last, under a lock.
"""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from conf.errors import ArtifactMismatch, RetryLater
from conf.settings import Settings, load_settings
from jobs.scoring.drift import drifted
from jobs.terminal.logs import configure_logging
from jobs.terminal.program import run_program
from jobs.train import compete, hold_back, model_settings_from, report
from model.artifact import KERAS_FILE
from model.dataset import Span
from model.decisions import Decision, decisions
from model.evaluate import skill
from model.lstm import load_keras
from model.news import has_news, without_news
from model.promotion import GateSettings
from model.registry import Registry
from model.series import Series
from model.training import ModelSettings, TrainedModel, fit_model
from store.archived_news import with_archived_news
from store.series import read_warehouse
from store.views import open_duckdb

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
logger = logging.getLogger(__name__)

SCHEDULE_DAYS = {"daily": 1, "weekly": 7, "monthly": 30}


# What came of the newest predictions that were made before their target time.
_REVEALED = """
    SELECT actual_return, predicted_return, covered FROM scored
    WHERE model_version = ? AND NOT backfilled AND horizon = (
        SELECT min(horizon) FROM scored WHERE model_version = ?)
    ORDER BY target_time DESC, symbol LIMIT ?
"""


@dataclass(frozen=True)
class LiveFigures:
    """The champion's newest live predictions at its first horizon, against what came."""

    n_windows: int
    skill: float
    coverage: float


@dataclass(frozen=True)
class Bounds:
    """Live figures beyond which a challenger is trained at once."""

    live_windows: int
    min_skill: float
    coverage_tolerance: float


def reason_to_retrain(
    now: datetime,
    last_decision: datetime | None,
    schedule: str,
    figures: LiveFigures | None,
    coverage: float,
    bounds: Bounds,
    drift: Sequence[str] = (),
) -> str | None:
    """Why a challenger should be trained now, or None.

    `figures` are the champion's at its first horizon, None before there are any; fewer windows than
    `live_windows` are not judged. `drift` holds what has drifted from the training range.

    >>> bounds = Bounds(live_windows=100, min_skill=-0.01, coverage_tolerance=0.05)
    >>> day = datetime(2024, 1, 8, tzinfo=UTC)
    >>> reason_to_retrain(day, datetime(2024, 1, 1, tzinfo=UTC), "weekly", None, 0.9, bounds)
    'the weekly challenger is due'
    >>> reason_to_retrain(day, day, "weekly", None, 0.9, bounds)
    """
    if last_decision is None:
        return "no challenger was ever judged"
    if (now - last_decision).total_seconds() >= SCHEDULE_DAYS[schedule] * 86_400:
        return f"the {schedule} challenger is due"
    # A day between two tries: what one day of bars could not mend, five minutes will not.
    if (now - last_decision).total_seconds() < 86_400:
        return None
    if drift:
        return f"drifted: {drift[0]}"
    if figures is None or figures.n_windows < bounds.live_windows:
        return None
    if not math.isnan(figures.skill) and figures.skill < bounds.min_skill:
        return f"live skill {figures.skill:.2%} is below {bounds.min_skill:.2%}"
    if abs(figures.coverage - coverage) > bounds.coverage_tolerance:
        return f"live coverage {figures.coverage:.1%} is far from {coverage:.0%}"
    return None


def retrain(
    series: Sequence[Series],
    model: ModelSettings,
    registry: Registry,
    promotions_dir: Path,
    reports_dir: Path,
    test_share: float,
    gate: GateSettings,
    adapt_rate: float,
    read_news: bool = False,
) -> list[Decision]:
    """Train challengers from the champion's weights and from scratch, and put all to the gate.

    With `read_news`, where the series have news, one more reads them. All are trained on all
    but the newest `test_share` of the time and judged there. Returns the decisions; the champion
    changes at most once for each challenger that passes.
    """
    part, held_back = hold_back(series, model, test_share)
    made = []
    for trained in _challengers(series, part, model, registry, read_news):
        result = compete(trained, series, part, held_back, registry, promotions_dir, gate)
        report(result, series, registry, reports_dir, adapt_rate)
        logger.info("challenger=%s reason=%s", result.version, result.reason)
        made.append(result.decision)
    return made


def _challengers(
    series: Sequence[Series],
    part: Span,
    model: ModelSettings,
    registry: Registry,
    read_news: bool,
) -> list[TrainedModel]:
    """From scratch, and from the champion's weights where it has the same shape."""
    inputs = [[without_news(one) for one in series]]
    if read_news and has_news(series[0]):
        inputs.append(list(series))
    scratch = [fit_model(read, part, model) for read in inputs]
    champion = registry.champion(series[0].interval)
    if champion is None:
        return scratch
    try:
        seen_until = registry.load(champion).manifest.trained_until
        weights, shape = load_keras((registry.folder(champion) / KERAS_FILE).read_bytes())
    except ArtifactMismatch as error:
        logger.warning("champion=%s not_continued=%s", champion, error)
        return scratch
    continued = [
        _seen_until(fit_model(read, part, model, start=weights), seen_until)
        for read, made in zip(inputs, scratch, strict=True)
        if made.shape == shape
    ]
    return [*scratch, *continued]


def _seen_until(trained: TrainedModel, time_ms: int) -> TrainedModel:
    """Bars before `time_ms` shaped the weights that this model began with: it has seen them."""
    until = max(time_ms, trained.manifest.trained_until)
    return replace(trained, manifest=trained.manifest.model_copy(update={"trained_until": until}))


def look(settings: Settings, timeframe: str, now: datetime, force: bool = False) -> list[Decision]:
    """Retrain one interval if there is a reason to; returns the decisions made."""
    warehouse = settings.warehouse.folder
    registry = Registry(settings.registry.tracking_uri, settings.registry.artifact_dir)
    promotions_dir = warehouse / "promotions"
    champion, newest = registry.champion(timeframe), settings.retrain.live_windows
    reason = (
        "asked for"
        if force
        else reason_to_retrain(
            now,
            _last_gate(promotions_dir, timeframe),
            settings.retrain.schedule,
            None if champion is None else live_figures(warehouse, champion, newest),
            settings.intervals.coverage,
            Bounds(
                settings.retrain.live_windows,
                settings.retrain.min_skill,
                settings.retrain.coverage_tolerance,
            ),
            drifted(warehouse, timeframe),
        )
    )
    if reason is None:
        return []
    logger.info("interval=%s retrain=%s", timeframe, reason)
    return retrain(
        with_archived_news(read_warehouse(warehouse, timeframe), warehouse),
        model_settings_from(settings),
        registry,
        promotions_dir,
        Path(settings.warehouse.reports_dir),
        settings.training.test_share,
        GateSettings(settings.promotion.level, settings.promotion.min_windows),
        settings.intervals.adapt_rate,
        settings.sentiment.enabled,
    )


def _last_gate(promotions_dir: Path, timeframe: str) -> datetime | None:
    times = [
        row["decided_at"]
        for row in decisions(promotions_dir)
        if row["interval"] == timeframe and row["action"] == "gate"
    ]
    return max(times, default=None)


def live_figures(warehouse_dir: Path, version: str, newest: int) -> LiveFigures | None:
    """Figures of `version` over its `newest` revealed live predictions; None before the first."""
    with open_duckdb(warehouse_dir) as connection:
        found = connection.execute(_REVEALED, [version, version, newest]).fetchnumpy()
    came, forecast = (
        np.asarray(found[name], float) for name in ("actual_return", "predicted_return")
    )
    if not len(came):
        return None
    covered = float(np.mean(np.asarray(found["covered"], bool)))
    return LiveFigures(len(came), skill(came, forecast), covered)


def retrain_if_due(
    settings: Settings, timeframe: str, force: bool, console: Console, once: bool
) -> None:
    """Look at one interval; what can only be waited for is said, and raised only if `once`."""
    try:
        for decision in look(settings, timeframe, datetime.now(UTC), force):
            state = "promoted" if decision.verdict.promoted else "kept"
            text = f"{decision.challenger}: {state}; {decision.verdict.reason}"
            console.print(text, markup=False, soft_wrap=True)
    except RetryLater as error:
        if once:
            raise
        logger.info("interval=%s retrain=later reason=%r", timeframe, str(error))


@app.command()
def main(
    once: Annotated[bool, typer.Option(help="Look once and end.")] = False,
    force: Annotated[bool, typer.Option(help="Train now, whatever the schedule.")] = False,
) -> None:
    """Retrain on a schedule, or when live figures fall below their bounds."""
    configure_logging()
    console = Console()
    settings = load_settings()
    asked = settings.ingest
    timeframes = {
        *asked.intervals,
        *(one for own in asked.intervals_of.values() for one in own),
    }
    while True:
        for timeframe in sorted(timeframes):
            retrain_if_due(settings, timeframe, force, console, once)
        if once:
            return
        force = False
        time.sleep(settings.retrain.check_every_s)


if __name__ == "__main__":
    run_program(app)
