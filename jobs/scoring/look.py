"""One look of `score`: each step in its own guard, alerts first."""

import logging
from collections.abc import Callable

import duckdb
import pandas as pd

from conf.events import event
from conf.extras import without_train
from conf.settings import Settings
from conf.timeframes import TIMEFRAME_MS
from jobs.scoring.alerts import Metrics, raise_alerts
from jobs.scoring.drift import update_drift
from jobs.scoring.intervals import adapt_intervals
from jobs.scoring.kept import discard
from jobs.scoring.scoreboard import read_scores, update_arima, update_scores
from model.decisions import Arena
from store.fits import update_fits
from store.prometheus import read_metrics

log = logging.getLogger(__name__)


def score_once(settings: Settings, with_drift: bool = True, strict: bool = True) -> pd.DataFrame:
    """Bring all that scoring keeps up to date and return the scoreboard.

    A step that fails is said in the log and leaves the others running; if `strict` the first such
    error is raised at the end. What is kept is forgotten where it is damaged.
    """
    warehouse_dir, bounds = settings.warehouse.folder, settings.score
    registry, rate = Arena.of(settings).registry, settings.intervals.adapt_rate
    steps: dict[str, Callable[[], object]] = {
        "alerts": lambda: look_for_alerts(settings),
        "fits": lambda: update_fits(warehouse_dir, registry),
        "arima": lambda: update_arima(warehouse_dir),
        "intervals": lambda: adapt_intervals(warehouse_dir, registry, rate),
        "scores": lambda: update_scores(warehouse_dir),
    }
    if with_drift:
        steps["drift"] = lambda: update_drift(
            warehouse_dir, registry, bounds.psi_watch, bounds.psi_alarm
        )
    if without_train():
        del steps["arima"]
    errors: list[Exception] = []
    for name, step in steps.items():
        try:
            step()
        except Exception as error:
            event(log, "score_failed", level=logging.WARNING, step=name, reason=repr(error))
            errors.append(error)
            if isinstance(error, duckdb.Error) and "Corrupt" in str(error):
                discard(warehouse_dir)
    if errors and strict:
        raise errors[0]
    return read_scores(warehouse_dir)


def look_for_alerts(settings: Settings) -> None:
    """Ask stream and ingest how they are, look at the newest scores, and send what is new."""
    stream, ingest = settings.stream, settings.ingest
    timeframes = [*ingest.intervals, *(i for own in ingest.intervals_of.values() for i in own)]
    port = ingest.metrics_port
    metrics = Metrics(
        read_metrics(f"http://{stream.metrics_host}:{stream.metrics_port}/metrics"),
        read_metrics(f"http://{ingest.metrics_host}:{port}/metrics") if port else None,
        asks_ingest=bool(port),
        longest_bar_s=max(TIMEFRAME_MS[name] for name in timeframes) / 1000,
    )
    warehouse_dir = settings.warehouse.folder
    board, lookback = read_scores(warehouse_dir), settings.window.lookback
    raise_alerts(board, warehouse_dir, settings.alerts, metrics, lookback=lookback)
