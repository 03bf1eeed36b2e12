"""The batch training job: bars from the warehouse or a file, a model into the registry.

`candlecast train` trains on `warehouse/bars`; `--data FILE --symbol BTC-USD` on a file.
The last part of the bars is held back: what the table shows was not seen in training.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from conf.errors import ConfigurationError
from conf.settings import Settings, load_settings
from ingest.sources.candles import lacking_fields
from jobs.machine.memory import free_bytes, require_memory
from jobs.terminal.program import run_program
from jobs.terminal.progress import training_bar
from model.decisions import Arena
from model.outcomes import shown_name
from model.series import Series
from store.archived_news import with_archived_news
from store.fits import update_fits
from store.recorded import read_file
from store.series import read_polled

if TYPE_CHECKING:  # it comes with TensorFlow
    from model.learning import TrainResult


def main(
    interval: Annotated[str, typer.Option(help="Length of a bar.")] = "1m",
    symbols: Annotated[
        str | None, typer.Option(help="BTC-USD,ETH-USD; those of ingest.symbols if not given.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(help="Train on bars opened before it, UTC.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="A recorded file, not the warehouse.")] = None,
    symbol: Annotated[str | None, typer.Option(help="Symbol of the file's bars.")] = None,
    allow_unproven: Annotated[bool, typer.Option(help="Serve a first model of no skill.")] = False,
) -> None:
    """Train a model and register it."""
    from model.learning import readings, report, train
    from model.training import ModelSettings, memory_needed

    console = Console()
    settings = load_settings()
    series = _read(settings, interval, symbols, until, data, symbol)
    if data is None:
        series = with_archived_news(series, settings.warehouse.folder)
    n_bars, needed = sum(one.n_present for one in series), memory_needed(series)
    console.print(f"{n_bars:,} bars, about {needed / 1e9:.1f} GB of memory", markup=False)
    require_memory(needed, free_bytes(), n_bars)
    without = lacking_fields(settings.ingest.source)
    model = ModelSettings(settings.window.lookback, settings.training, settings.intervals, without)
    arena = Arena.of(settings, allow_unproven)
    reports_dir = Path(settings.warehouse.reports_dir)
    for reading in readings(series, settings.sentiment.enabled):
        with training_bar(console, settings.training.max_epochs) as on_epoch:
            result = train(series, model, arena, reading, on_epoch)
        update_fits(settings.warehouse.folder, arena.registry)
        print_result(console, result)
        rate, fee_bp = settings.intervals.adapt_rate, settings.market.fee_bp
        page = report(result, series, arena.registry, reports_dir, rate, fee_bp)
        console.print(f"report: {page}", markup=False, soft_wrap=True)


def _read(
    settings: Settings,
    timeframe: str,
    symbols: str | None,
    until: datetime | None,
    data: Path | None,
    symbol: str | None,
) -> list[Series]:
    until_ms = None if until is None else int(until.replace(tzinfo=UTC).timestamp() * 1000)
    if data is None:
        names = None if symbols is None else [name.strip() for name in symbols.split(",")]
        return read_polled(settings, timeframe, names, until_ms)
    if symbol is None:
        raise ConfigurationError("--data needs --symbol, such as BTC-USD")
    series = read_file(data, symbol, timeframe, settings.ingest.earliest_ms)
    return [series if until_ms is None else series.until(until_ms)]


def print_result(console: Console, result: "TrainResult") -> None:
    """The metrics on the bars held back, the model beside persistence."""
    table = Table(
        title=f"{result.version} on the bars held back", box=box.SIMPLE_HEAD, pad_edge=False
    )
    rows = [
        {"horizon": str(horizon), "": shown_name(name), "windows": str(m.n_windows), **m.shown()}
        for horizon, of in result.metrics.items()
        for name, m in of.items()
    ]
    for column in rows[0]:
        table.add_column(column, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    console.print(table)
    state = "champion" if result.promoted else "not champion"
    text = f"{result.version}: {state}; {result.reason}"
    console.print(text, markup=False, soft_wrap=True)


if __name__ == "__main__":
    run_program(lambda: typer.run(main))
