"""`candlecast score`: predictions against what came, as a table; what the stream learns from it.

1. ARIMA's forecasts for the moments that lack them (`warehouse/arima`)
2. interval factors of the champions, from live coverage, into the registry
3. drift of features and residuals (`warehouse/drift`)
4. the scoreboard, printed; alerts, sent

It reads the warehouse and never touches the stream; `--every` repeats it.
"""

import logging
import threading
from typing import Annotated, Final

import duckdb
import pandas as pd
import typer
from prometheus_client import start_http_server
from rich.console import Console
from rich.table import Table

from conf.errors import CandlecastError, ConfigurationError
from conf.settings import Settings, load_settings
from jobs.scoring.alerts import raise_alerts
from jobs.scoring.arima import update_arima
from jobs.scoring.drift import update_drift
from jobs.scoring.intervals import adapt_intervals
from jobs.scoring.metrics import ScoreMetrics
from jobs.terminal.logs import configure_logging
from model.registry import Registry
from store.prometheus import read_metrics
from store.views import read_board

log = logging.getLogger(__name__)

SPANS: Final = ("1h", "24h", "7d", "all")
TABLE_WIDTH: Final = 150


def score(
    every: Annotated[int, typer.Option(help="seconds until it is done again; 0: once")] = 0,
    span: Annotated[str, typer.Option(help=f"shown: {', '.join(SPANS)}")] = "24h",
    drift: Annotated[bool, typer.Option(help="compare with the training range too")] = True,
) -> None:
    """Score predictions whose target time has passed, against persistence and ARIMA."""
    configure_logging(logging.WARNING if not every else logging.INFO)
    settings = load_settings()
    console = Console(width=max(Console().width, TABLE_WIDTH))
    if span not in SPANS:
        raise ConfigurationError(f"--span {span}: there are {', '.join(SPANS)}")
    stopping, metrics = threading.Event(), ScoreMetrics()
    if every and settings.score.metrics_port:
        start_http_server(
            settings.score.metrics_port, settings.score.metrics_host, metrics.registry
        )
    try:
        while True:
            try:
                board = score_once(settings, drift)
                metrics.show(board)
                if not every or console.is_terminal:
                    print_board(console, board, span)
            except (CandlecastError, duckdb.Error, OSError) as error:
                if not every:
                    raise
                log.warning("score=failed reason=%s", error)
            if not every or stopping.wait(every):
                return
    except KeyboardInterrupt:
        return


def score_once(settings: Settings, with_drift: bool = True) -> pd.DataFrame:
    """Bring all that scoring keeps up to date and return the scoreboard."""
    warehouse_dir = settings.warehouse.folder
    registry = Registry(settings.registry.tracking_uri, settings.registry.artifact_dir)
    update_arima(warehouse_dir)
    adapt_intervals(warehouse_dir, registry, settings.intervals.adapt_rate)
    if with_drift:
        update_drift(warehouse_dir, registry, settings.score.psi_watch, settings.score.psi_alarm)
    board = read_board(warehouse_dir)
    url = f"http://{settings.stream.metrics_host}:{settings.stream.metrics_port}/metrics"
    raise_alerts(board, warehouse_dir, settings.alerts, read_metrics(url))
    return board


def print_board(console: Console, board: pd.DataFrame, span: str) -> None:
    """The scoreboard of one span as a table."""
    rows = board[board["span"] == span]
    if rows.empty:
        console.print("Nothing to score yet: no prediction's target time has come.")
        return
    table = Table(title=f"scoreboard, {span} up to {rows['last_target'].max():%Y-%m-%d %H:%M} UTC")
    for name in (
        *("symbol", "horizon", "model", "", "n", "skill", "DM p", "vs ARIMA", "DM p"),
        *("MAE", "MSE", "R2", "direction", "covered", "width"),
    ):
        table.add_column(name, justify="right")
    for row in rows.itertuples():
        table.add_row(
            str(row.symbol),
            f"{row.horizon} x {row.interval}",
            str(row.model_version),
            "backfilled" if row.backfilled else "live",
            f"{row.predictions:,}",
            figure(row.skill_persistence, "+.2%"),
            figure(row.dm_p_persistence, ".3f"),
            figure(row.skill_arima, "+.2%"),
            figure(row.dm_p_arima, ".3f"),
            figure(row.mae, ".4g"),
            figure(row.mse, ".4g"),
            figure(row.r2, ".4f"),
            f"{figure(row.directional_accuracy, '.1%')} "
            f"({figure(row.direction_low, '.0%')}..{figure(row.direction_high, '.0%')})",
            f"{figure(row.interval_coverage, '.1%')} of {figure(row.promised_coverage, '.0%')}",
            figure(row.mean_width, ".2%"),
        )
    console.print(table)


def figure(value: object, form: str) -> str:
    """A figure in its form, `-` where there is none.

    >>> figure(0.0312, "+.1%"), figure(float("nan"), ".2f")
    ('+3.1%', '-')
    """
    return "-" if pd.isna(value) else format(value, form)  # type: ignore[call-overload]
