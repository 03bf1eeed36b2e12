"""`candlecast demo`: the whole path on one machine, with real bars, in one terminal."""

import signal
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from conf.errors import ConfigurationError
from jobs.demo.recordings import BACKFILL, LEADERS, SERIES, Parts, read_all
from jobs.demo.stage import DEMO_DIR, DemoFailed, Stage
from jobs.terminal.stopping import ending_signals

LOOK: Final = f"Look at them: .venv/bin/candlecast --warehouse {DEMO_DIR} models"
REPORT: Final = Path("reports/demo.json")


def demo(
    series: Annotated[str, typer.Option(help=f"one of {', '.join(SERIES)}")] = "cccagg",
    speed: Annotated[float, typer.Option(help="of the replay, times real time")] = 1500.0,
    backfill: Annotated[float, typer.Option(help="share of the bars before")] = BACKFILL,
    train: Annotated[bool, typer.Option("--train", help="train on these first")] = False,
    exit_: Annotated[bool, typer.Option("--exit", help="end when the series is through")] = False,
    allow_unproven: Annotated[bool, typer.Option(help="with --train: without skill, too")] = False,
    source: Annotated[
        str | None,
        typer.Option(help="live bars instead: cryptocompare (needs a key), exchange:binance, ..."),
    ] = None,
    symbols: Annotated[str, typer.Option(help="of the live source")] = "BTC-USD,ETH-USD",
    dashboard: Annotated[
        bool | None, typer.Option(help="serve the page too (not with --exit by default)")
    ] = None,
) -> None:
    """Broker, stream, page and a live table of predictions; Ctrl-C ends all of it."""
    if series not in SERIES:
        raise ConfigurationError(f"--series {series}: there are {', '.join(SERIES)}")
    if backfill < BACKFILL and not train:
        raise ConfigurationError(
            f"--backfill {backfill}: the shipped model has seen {BACKFILL:.0%}; add --train"
        )
    console = Console()
    end_as_by_ctrl_c()
    with ExitStack() as running:
        try:
            shipped = not train
            leaders = LEADERS[series] if shipped and source is None else ()
            stage = Stage(console, running, shipped, leaders)
            stage.start()
            if dashboard or (dashboard is None and not exit_):
                stage.show_page()
            if source is None:
                parts = Parts.split(
                    read_all(SERIES[series], stage.settings.ingest.earliest_ms), backfill
                )
                parts = train_first(stage, parts, allow_unproven) if train else begin(stage, parts)
                show_recorded(stage, console, parts, speed)
                if not exit_:
                    console.print("The series is through. Ctrl-C ends; the tables stay.")
                    console.print(LOOK, markup=False, highlight=False, soft_wrap=True)
                    threading.Event().wait()
            else:
                stage.backfill_from(source, symbols)
                if train:
                    stage.train(symbols.split(","), allow_unproven)
                stage.show_live(until_first=exit_)
        except KeyboardInterrupt:
            console.print("Stopping the broker and the stream.")


def train_first(stage: Stage, parts: Parts, allow_unproven: bool) -> Parts:
    """Have the first part archived, and a model trained on it."""
    stage.archive(parts.backfill)
    stage.train(sorted({bar.symbol for bar in parts.backfill}), allow_unproven)
    return parts


def begin(stage: Stage, parts: Parts) -> Parts:
    """Publish what the first window of the second part looks at: the shipped model is trained."""
    parts = parts.shortened(stage.settings.window.lookback)
    stage.publish(parts.backfill)
    return parts


def show_recorded(stage: Stage, console: Console, parts: Parts, speed: float) -> None:
    """Replay the second part of recorded bars, and report.

    Raises DemoFailed where a window that could be predicted was not.
    """
    report = stage.replay(parts, speed)
    report.print(console)
    report.save(REPORT)
    if not report.complete:
        raise DemoFailed("predictions are missing, twice or unexpected: see the table")


def end_as_by_ctrl_c() -> None:
    """Let SIGTERM, and the terminal that closes, end the demo as Ctrl-C does."""
    for number in ending_signals():
        signal.signal(number, signal.default_int_handler)
