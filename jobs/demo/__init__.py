"""`candlecast demo`: the whole path on one machine, with real bars, in one terminal."""

import signal
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from conf.errors import ConfigurationError
from ingest.bar import Bar
from ingest.replay import in_close_order
from ingest.sources.recorded import Recording, read_bars
from jobs.demo.stage import DEMO_DIR, DemoFailed, Parts, Stage
from jobs.terminal.stopping import ending_signals

SERIES: Final = {
    "cccagg": (
        Recording(Path("data/btcusd_cryptocompare_cccagg_1m_2017-12.csv.gz"), "BTC-USD", "1m"),
        Recording(Path("data/ethusd_cryptocompare_cccagg_1m_2017-12.csv.gz"), "ETH-USD", "1m"),
    ),
    "binance": (
        Recording(Path("data/btcusdt_binance_1m_10086rows_2024-12.csv.gz"), "BTC-USDT", "1m"),
    ),
}


LOOK: Final = f"Look at them: .venv/bin/candlecast --warehouse {DEMO_DIR} models"
REPORT: Final = Path("reports/demo.json")


def demo(
    series: Annotated[str, typer.Option(help=f"one of {', '.join(SERIES)}")] = "cccagg",
    speed: Annotated[float, typer.Option(help="of the replay, times real time")] = 1500.0,
    backfill: Annotated[float, typer.Option(help="share of the bars to train on")] = 0.7,
    exit_: Annotated[bool, typer.Option("--exit", help="end when the series is through")] = False,
    allow_unproven: Annotated[bool, typer.Option(help="serve a model without skill too")] = False,
    source: Annotated[
        str | None,
        typer.Option(help="live bars instead: cryptocompare (needs a key), exchange:binance, ..."),
    ] = None,
    symbols: Annotated[str, typer.Option(help="of the live source")] = "BTC-USD,ETH-USD",
    dashboard: Annotated[
        bool | None, typer.Option(help="serve the page too (not with --exit by default)")
    ] = None,
) -> None:
    """Broker, backfill, training, stream and a live table; Ctrl-C ends all of it."""
    if series not in SERIES:
        raise ConfigurationError(f"--series {series}: there are {', '.join(SERIES)}")
    console = Console()
    end_as_by_ctrl_c()
    with ExitStack() as running:
        try:
            stage = Stage(console, running)
            stage.start()
            if dashboard or (dashboard is None and not exit_):
                stage.show_page()
            if source is None:
                parts = Parts.split(
                    read_all(SERIES[series], stage.settings.ingest.earliest_ms), backfill
                )
                show_recorded(stage, console, parts, speed, allow_unproven)
                if not exit_:
                    console.print("The series is through. Ctrl-C ends; the tables stay.")
                    console.print(LOOK, markup=False, highlight=False, soft_wrap=True)
                    threading.Event().wait()
            else:
                stage.backfill_from(source, symbols)
                stage.train(symbols.split(","), allow_unproven)
                stage.show_live(until_first=exit_)
        except KeyboardInterrupt:
            console.print("Stopping the broker and the stream.")


def read_all(recordings: tuple[Recording, ...], earliest_ms: int) -> list[Bar]:
    """The bars of several recordings from `earliest_ms` on, in the order in which they closed."""
    bars = (read_bars(r.path, r.symbol, r.interval, earliest_ms=earliest_ms) for r in recordings)
    return list(in_close_order(bars))


def show_recorded(
    stage: Stage, console: Console, parts: Parts, speed: float, allow_unproven: bool
) -> None:
    """Train on the first part of recorded bars, replay the second, and report.

    Raises DemoFailed where a window that could be predicted was not.
    """
    stage.archive(parts.backfill)
    stage.train(sorted({bar.symbol for bar in parts.backfill}), allow_unproven)
    report = stage.replay(parts, speed)
    report.print(console)
    report.save(REPORT)
    if not report.complete:
        raise DemoFailed("predictions are missing, twice or unexpected: see the table")


def end_as_by_ctrl_c() -> None:
    """Let SIGTERM, and the terminal that closes, end the demo as Ctrl-C does."""
    for number in ending_signals():
        signal.signal(number, signal.default_int_handler)
