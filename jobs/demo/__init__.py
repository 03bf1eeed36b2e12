"""`candlecast demo`: the whole path on one machine, with real bars, in one terminal."""

import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from conf.errors import ConfigurationError
from ingest.replay import in_close_order
from ingest.sources.recorded import Recording, read_bars
from jobs.demo.stage import Parts, Stage

SERIES: Final = {
    "cccagg": (
        Recording(Path("data/btcusd_cryptocompare_cccagg_1m_2017-12.csv.gz"), "BTC-USD", "1m"),
        Recording(Path("data/ethusd_cryptocompare_cccagg_1m_2017-12.csv.gz"), "ETH-USD", "1m"),
    ),
    "binance": (
        Recording(Path("data/btcusdt_binance_1m_10086rows_2024-12.csv.gz"), "BTC-USDT", "1m"),
    ),
}


def demo(
    series: Annotated[str, typer.Option(help=f"one of {', '.join(SERIES)}")] = "cccagg",
    speed: Annotated[float, typer.Option(help="of the replay, times real time")] = 1500.0,
    backfill: Annotated[float, typer.Option(help="share of the bars to train on")] = 0.7,
    exit_: Annotated[bool, typer.Option("--exit", help="end when the series is through")] = False,
    allow_unproven: Annotated[bool, typer.Option(help="serve a model without skill too")] = False,
) -> None:
    """Broker, backfill, training, stream and a live table; Ctrl-C ends all of it."""
    if series not in SERIES:
        raise ConfigurationError(f"--series {series}: there are {', '.join(SERIES)}")
    console = Console()
    started = time.monotonic()
    recorded = in_close_order(read_bars(r.path, r.symbol, r.interval) for r in SERIES[series])
    parts = Parts.split(list(recorded), backfill)
    with ExitStack() as running:
        try:
            stage = Stage(console, running)
            stage.start()
            stage.archive(parts.backfill)
            stage.train(allow_unproven)
            report = stage.predict(parts, speed, started)
            report.print(console)
            report.save(Path(stage.settings.warehouse.reports_dir) / "demo.json")
            if not exit_:
                console.print("The series is through. Query it as the README shows; Ctrl-C ends.")
                threading.Event().wait()
        except KeyboardInterrupt:
            console.print("Stopping the broker and the stream.")
            return
    if not report.complete:
        raise typer.Exit(1)
