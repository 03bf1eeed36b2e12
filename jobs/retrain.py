"""Self-learning: train a challenger when it is time or the champion does badly, and let it compete.

`candlecast retrain --once` looks, acts and ends; without it the job stays and looks every few
minutes. A run that dies half-way leaves the champion as it was, and is due again after a day.
"""

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from conf.errors import MissingPrerequisite, NotEnoughBars, RetryLater
from conf.events import event
from conf.extras import without_train
from conf.settings import Settings, load_settings
from conf.state_files import read_state, write_state
from ingest.sources.candles import lacking_fields
from jobs.machine.memory import free_bytes, require_memory
from jobs.scoring.drift import drifted
from jobs.terminal.logs import configure_logging
from jobs.terminal.program import run_program
from model.decisions import Arena, decisions
from model.due import LiveFigures, reason_to_retrain
from model.outcomes import skill
from store.archived_news import with_archived_news
from store.fits import update_fits
from store.locks import only_worker
from store.series import read_polled
from store.views import read_sql

if TYPE_CHECKING:  # it comes with TensorFlow
    from model.learning import TrainResult

log = logging.getLogger(__name__)

# The outcomes of the newest predictions that were made before their target time.
_REVEALED: Final = """
    SELECT target_time, actual_return, predicted_return, covered FROM scored
    WHERE model_version = ? AND NOT backfilled AND horizon = (
        SELECT min(horizon) FROM scored WHERE model_version = ?)
    QUALIFY dense_rank() OVER (ORDER BY target_time DESC) <= ?
"""
# In the warehouse: when each timeframe's last training began, whatever became of it.
_ATTEMPTS: Final = Path("_retrain/attempts.json")


def look(
    settings: Settings, timeframe: str, now: datetime, force: bool = False
) -> Iterator["TrainResult"]:
    """Retrain one timeframe if there is a reason to; yields each challenger that competed."""
    from model.learning import report, retrain
    from model.training import ModelSettings, memory_needed

    warehouse = settings.warehouse.folder
    arena = Arena.of(settings)
    update_fits(warehouse, arena.registry)
    reason = "asked for" if force else reason_now(settings, arena, timeframe, now)
    if reason is None:
        return
    event(log, "retrain", interval=timeframe, reason=reason)
    _note_attempt(warehouse, timeframe, now)
    series = with_archived_news(read_polled(settings, timeframe), warehouse)
    require_memory(memory_needed(series), free_bytes(), sum(one.n_present for one in series))
    without = lacking_fields(settings.ingest.source)
    model = ModelSettings(settings.window.lookback, settings.training, settings.intervals, without)
    reports_dir = Path(settings.warehouse.reports_dir)
    for result in retrain(series, model, arena, settings.sentiment.enabled):
        update_fits(warehouse, arena.registry)
        rate, fee_bp = settings.intervals.adapt_rate, settings.market.fee_bp
        report(result, series, arena.registry, reports_dir, rate, fee_bp)
        yield result


def reason_now(settings: Settings, arena: Arena, timeframe: str, now: datetime) -> str | None:
    """Why a challenger of a timeframe should be trained at `now`, or None."""
    warehouse, bounds = settings.warehouse.folder, settings.retrain
    champion = arena.registry.champion(timeframe)
    return reason_to_retrain(
        now,
        _last_gate(arena.promotions_dir, timeframe),
        None if champion is None else live_figures(warehouse, champion, bounds.live_windows),
        settings.intervals.coverage,
        bounds,
        drifted(warehouse, timeframe),
        _last_attempt(warehouse, timeframe),
    )


def _note_attempt(warehouse_dir: Path, timeframe: str, at: datetime | None) -> None:
    """Remember when a training began, before it does: one that is killed is not due again at once.
    None forgets it."""
    file = warehouse_dir / _ATTEMPTS
    text = None if at is None else at.isoformat()
    write_state(file, {**read_state(file), timeframe: text})


def _last_attempt(warehouse_dir: Path, timeframe: str) -> datetime | None:
    try:
        return datetime.fromisoformat(read_state(warehouse_dir / _ATTEMPTS)[timeframe])
    except (KeyError, TypeError, ValueError):
        return None


def _last_gate(promotions_dir: Path, timeframe: str) -> datetime | None:
    times = [
        row["decided_at"]
        for row in decisions(promotions_dir)
        if row["interval"] == timeframe and row["action"] == "gate"
    ]
    return max(times, default=None)


def live_figures(warehouse_dir: Path, version: str, newest: int) -> LiveFigures | None:
    """Figures of `version` over the `newest` times that it has revealed live predictions of; None
    before the first."""
    rows = read_sql(warehouse_dir, _REVEALED, [version, version, newest])
    if rows.empty:
        return None
    actual, forecast = (rows[f"{kind}_return"].to_numpy(float) for kind in ("actual", "predicted"))
    return LiveFigures(
        rows["target_time"].nunique(), skill(actual, forecast), float(rows["covered"].mean())
    )


def retrain_if_due(
    settings: Settings, timeframe: str, force: bool, console: Console, once: bool
) -> None:
    """Look at one timeframe; what can only be waited for is logged, and raised only if `once`."""
    try:
        for result in look(settings, timeframe, datetime.now(UTC), force):
            state = "promoted" if result.promoted else "kept"
            console.print(f"{result.decision.challenger}: {state}; {result.reason}")
    except RetryLater as error:
        if isinstance(error, NotEnoughBars):  # the next bars may be what was missing
            _note_attempt(settings.warehouse.folder, timeframe, None)
        if once:
            raise
        event(log, "retrain_later", interval=timeframe, reason=error)


def main(
    once: Annotated[bool, typer.Option(help="Look once and end.")] = False,
    force: Annotated[bool, typer.Option(help="Train now, whatever the schedule.")] = False,
) -> None:
    """Retrain on a schedule, or when live figures fall below their bounds."""
    if missing := without_train():
        raise MissingPrerequisite(missing)
    configure_logging()
    console, settings = Console(markup=False, soft_wrap=True), load_settings()
    polled = settings.ingest
    timeframes = {*polled.intervals, *(one for own in polled.intervals_of.values() for one in own)}
    with only_worker(settings.warehouse, "retrain"):
        while True:
            for timeframe in sorted(timeframes):
                retrain_if_due(settings, timeframe, force, console, once)
            if once:
                return
            force = False
            time.sleep(settings.retrain.check_every_s)


if __name__ == "__main__":
    run_program(lambda: typer.run(main))
