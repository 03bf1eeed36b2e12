"""`candlecast score`: predictions against actual prices; what the stream learns from it.

1. alerts, sent
2. ARIMA's forecasts for the moments that lack them (table `arima`)
3. interval factors of the champions, from live coverage, into the registry
4. the scoreboard (table `scores`), printed
5. once an hour, drift of features and residuals (table `drift`)

It reads the warehouse and never touches the stream; `--every` repeats it.
"""

import logging
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated, Final

import duckdb
import pandas as pd
import typer
from prometheus_client import start_http_server
from rich.console import Console
from rich.table import Table

from conf.errors import CandlecastError, ConfigurationError
from conf.events import event
from conf.extras import without_train
from conf.ports import listening
from conf.settings import load_settings
from jobs.scoring.look import score_once
from jobs.scoring.metrics import ScoreMetrics
from jobs.terminal.logs import configure_logging
from store.locks import only_worker
from store.schema import SPANS

log = logging.getLogger(__name__)

TABLE_WIDTH: Final = 150
FEE: Final = "breaks even, bp"
FIRST_LOOK: Final = ("symbol", "horizon", "n", "skill", "how far", "covered", FEE)
COLUMNS: Final = {
    "symbol": "{symbol}",
    "horizon": "{horizon} x {interval}",
    "model": "{model_version}",
    "": "{made}",
    "n": "{predictions:,}",
    "skill": "{skill_persistence:+.2%}",
    "DM p": "{dm_p_persistence:.3f}",
    "vs ARIMA": "{skill_arima:+.2%}",
    "DM p ": "{dm_p_arima:.3f}",
    "MAE": "{mae:.4g}",
    "MSE": "{mse:.4g}",
    "R2": "{r2:.4f}",
    "direction": "{directional_accuracy:.1%} ({direction_low:.0%}..{direction_high:.0%})",
    "covered": "{interval_coverage:.1%} of {promised_coverage:.0%}",
    "width": "{mean_width:.2%}",
    "CRPS": "{crps:.3%}",
    "trailing CRPS": "{crps_trailing:.3%}",
    "how far": "{crps_skill:+.2%}",
    "CRPS p": "{dm_p_crps:.3f}",
    "interval score": "{interval_score:.3%} ({interval_score_trailing:.3%})",
    "trailing covered": "{coverage_trailing:.1%}",
    "gain, bp": "{gain_bp:+.2f}",
    "turnover": "{turnover:.2f}",
    FEE: "{break_even_bp:.1f} ({break_even_low_bp:.1f}..{break_even_high_bp:.1f})",
}


def score(
    every: Annotated[int, typer.Option(min=0, help="seconds until it is done again; 0: once")] = 0,
    span: Annotated[str, typer.Option(help=f"shown: {', '.join(SPANS)}")] = "24h",
    all_: Annotated[bool, typer.Option("--all", help="every column")] = False,
    drift: Annotated[bool, typer.Option(help="compare with the training range too")] = True,
) -> None:
    """Score predictions whose target time has passed, against persistence and ARIMA."""
    configure_logging(logging.WARNING if not every else logging.INFO)
    settings = load_settings()
    console = Console(width=max(Console().width, TABLE_WIDTH) if all_ else None)
    if span not in SPANS:
        raise ConfigurationError(f"--span {span}: there are {', '.join(SPANS)}")
    if missing := without_train():
        event(log, "arima_off", level=logging.WARNING, reason=missing)
    metrics, port = ScoreMetrics(), settings.score.metrics_port
    with only_worker(settings.warehouse, "score"), suppress(KeyboardInterrupt):
        if every and port:
            host = settings.score.metrics_host
            with listening(host, port, "score.metrics_port"):
                start_http_server(port, host, metrics.registry)
        while True:
            try:
                board = score_once(settings, drift, strict=not every)
                metrics.show(board)
                if not every or console.is_terminal:
                    shown = COLUMNS if all_ else FIRST_LOOK
                    print_board(console, board, span, settings.market.fee_bp, shown)
            except (CandlecastError, duckdb.Error, OSError) as error:
                if not every:
                    raise
                event(log, "score_failed", level=logging.WARNING, reason=error)
            if not every:
                return
            time.sleep(every)


def print_board(
    console: Console,
    board: pd.DataFrame,
    span: str,
    fee_bp: float,
    columns: Iterable[str] = COLUMNS,
) -> None:
    """Some columns of the scoreboard of one span as a table; beside `fee_bp`, the usual fee."""
    rows = board[board["span"] == span]
    if rows.empty:
        console.print("Nothing to score yet: no prediction's target time has passed.")
        return
    table = Table(title=f"scoreboard, {span} up to {rows['last_target'].max():%Y-%m-%d %H:%M} UTC")
    forms = {name: COLUMNS[name] for name in columns}
    for name in forms:
        table.add_column(name, justify="right", overflow="fold")
    made = rows["backfilled"].map({True: "backfilled", False: "live"})
    for row in rows.assign(made=made).to_dict("records"):
        cells = (form.format_map(row) for form in forms.values())
        table.add_row(*(_cell(cell) for cell in cells))
    console.print(table)
    console.print(
        f"Breaks even: the fee of one side, in basis points, at which nothing is left of acting on "
        f"the sign of each prediction; the usual fee is {fee_bp:g}. No advice."
    )


def _cell(text: str) -> str:
    """Without what is not known.

    >>> _cell("+nan%"), _cell("0.4 (nan..nan)"), _cell("nan (nan..nan)")
    ('-', '0.4, early', '-')
    """
    if text.startswith("nan"):
        return "-"
    return re.sub(r"\+?nan%?", "-", text.replace(" (nan..nan)", ", early"))
