"""The batch training job: bars from the warehouse or a file, a model into the registry.

`candlecast train` trains on `warehouse/bars`; `--data FILE.csv.gz --symbol BTC-USD` on a file.
The last part of the bars is held back: what the table shows was not seen in training.
"""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from conf.errors import ConfigurationError
from conf.settings import Settings, Warehouse, load_settings
from jobs.terminal.program import run_program
from model.artifact import KERAS_FILE, ONNX_FILE, save_artifact
from model.dataset import Span, embargo_bars
from model.decisions import Decision, decide_and_record
from model.evaluate import Metrics
from model.lstm import EpochDone, FitSettings
from model.news import has_news, without_news
from model.outcomes import LSTM
from model.promotion import GateSettings
from model.read_series import read_file
from model.registry import Registry
from model.report import held_back_outcomes, write_report
from model.series import Series
from model.training import ModelSettings, TrainedModel, fit_model
from model.validate import held_out_metrics
from store.archived_news import with_archived_news
from store.series import read_warehouse

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@dataclass(frozen=True)
class TrainResult:
    """A registered model, how it did on the bars held back, and what the gate said.

    `metrics` are those of "lstm" and "persistence" at each horizon.
    """

    version: str
    decision: Decision
    part: Span
    held_back: Span
    metrics: dict[int, dict[str, Metrics]]
    model: TrainedModel

    @property
    def promoted(self) -> bool:
        """Whether it is the champion now."""
        return self.decision.verdict.promoted

    @property
    def reason(self) -> str:
        """Why, in one sentence."""
        return self.decision.verdict.reason


def train(
    series: Sequence[Series],
    model_settings: ModelSettings,
    registry: Registry,
    promotions_dir: Path,
    test_share: float,
    gate: GateSettings,
    allow_unproven: bool = False,
    on_epoch: EpochDone | None = None,
    read_news: bool = False,
) -> TrainResult:
    """Train on all but the last `test_share` of the time, register, and put to the gate there.

    `read_news` has the model read the news of the series, which must have them. `allow_unproven`
    lets a model that fails the gate serve where no other does, marked as unproven.
    """
    part, held_back = hold_back(series, model_settings, test_share)
    read = series if read_news else [without_news(one) for one in series]
    trained = fit_model(read, part, model_settings, on_epoch=on_epoch)
    return compete(trained, series, part, held_back, registry, promotions_dir, gate, allow_unproven)


def compete(
    trained: TrainedModel,
    series: Sequence[Series],
    part: Span,
    held_back: Span,
    registry: Registry,
    promotions_dir: Path,
    gate: GateSettings,
    allow_unproven: bool = False,
) -> TrainResult:
    """Register a model that was trained on `part`, and put it to the gate on `held_back`."""
    metrics = held_out_metrics(trained.artifact("new"), series, held_back)
    with tempfile.TemporaryDirectory() as folder:
        save_trained(Path(folder), trained, metrics)
        version = registry.register(Path(folder), series[0].interval)
    decision = decide_and_record(
        registry, promotions_dir, version, series, held_back, gate, allow_unproven
    )
    return TrainResult(registry.canonical(version), decision, part, held_back, metrics, trained)


def report(
    result: TrainResult,
    series: Sequence[Series],
    registry: Registry,
    reports_dir: Path,
    adapt_rate: float,
) -> Path:
    """Write the model's page and keep its figures with the registered version; returns the page."""
    artifact = registry.load(result.version)
    shown = held_back_outcomes(artifact, series, result.part, result.held_back)
    folder = reports_dir / result.version
    page = write_report(folder, artifact, result.model.history, shown, result.reason, adapt_rate)
    known = {k: v for k, v in artifact.manifest.metrics.items() if v is not None}
    registry.attach(result.version, folder, known)
    return page


def hold_back(
    series: Sequence[Series], model_settings: ModelSettings, test_share: float
) -> tuple[Span, Span]:
    """The part to train on and the part held back, with the embargo between them."""
    start, end = min(s.first_open_time for s in series), max(s.end_time for s in series)
    border = end - int((end - start) * test_share)
    embargo = embargo_bars(model_settings.lookback, model_settings.horizons)
    return Span(start, border - embargo * series[0].bar_ms), Span(border, end)


def save_trained(
    folder: Path, trained: TrainedModel, metrics: dict[int, dict[str, Metrics]]
) -> None:
    """Write an artifact with its metrics on the bars held back in the manifest."""
    flat = {f"{k}_{h}": v for h, of in metrics.items() for k, v in of[LSTM].as_dict().items()}
    known = {name: None if math.isnan(value) else value for name, value in flat.items()}
    manifest = trained.manifest.model_copy(update={"metrics": known})
    save_artifact(folder, manifest, {ONNX_FILE: trained.onnx, KERAS_FILE: trained.keras()})


def model_settings_from(settings: Settings) -> ModelSettings:
    """The model's settings out of the settings file."""
    training = settings.training
    return ModelSettings(
        lookback=settings.window.lookback,
        horizons=tuple(training.horizons),
        units=training.units,
        members=training.members,
        validation_share=training.validation_share,
        coverage=settings.intervals.coverage,
        fit=FitSettings(
            training.learning_rate,
            training.max_epochs,
            training.patience,
            training.batch_size,
            training.seed,
        ),
    )


@app.command()
def main(
    interval: Annotated[str, typer.Option(help="Length of a bar.")] = "1m",
    symbols: Annotated[str | None, typer.Option(help="BTC-USD,ETH-USD; all if not given.")] = None,
    until: Annotated[
        datetime | None, typer.Option(help="Train on bars opened before it, UTC.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="A recorded file, not the warehouse.")] = None,
    symbol: Annotated[str | None, typer.Option(help="Symbol of the file's bars.")] = None,
    allow_unproven: Annotated[bool, typer.Option(help="Serve a first model of no skill.")] = False,
) -> None:
    """Train a model and register it."""
    console = Console()
    settings = load_settings()
    series = _read(settings.warehouse, interval, symbols, until, data, symbol)
    if data is None:
        series = with_archived_news(series, settings.warehouse.folder)
    registry = Registry(settings.registry.tracking_uri, settings.registry.artifact_dir)
    with_news = settings.sentiment.enabled and has_news(series[0])
    for read_news in (False, True) if with_news else (False,):
        with TrainingProgress(console, settings.training.max_epochs) as on_epoch:
            result = train(
                series,
                model_settings_from(settings),
                registry,
                settings.warehouse.folder / "promotions",
                settings.training.test_share,
                GateSettings(settings.promotion.level, settings.promotion.min_windows),
                allow_unproven,
                on_epoch,
                read_news,
            )
        print_result(console, result)
        reports_dir = Path(settings.warehouse.reports_dir)
        page = report(result, series, registry, reports_dir, settings.intervals.adapt_rate)
        console.print(f"report: {page}", markup=False, soft_wrap=True)


def _read(
    warehouse: Warehouse,
    timeframe: str,
    symbols: str | None,
    until: datetime | None,
    data: Path | None,
    symbol: str | None,
) -> list[Series]:
    until_ms = None if until is None else int(until.replace(tzinfo=UTC).timestamp() * 1000)
    if data is None:
        names = None if symbols is None else symbols.split(",")
        return read_warehouse(warehouse.folder, timeframe, names, until_ms)
    if symbol is None:
        raise ConfigurationError("--data needs --symbol, such as BTC-USD")
    series = read_file(data, symbol, timeframe)
    return [series if until_ms is None else series.until(until_ms)]


class TrainingProgress:
    """A bar with loss and time left; used as a context, gives what to call after each epoch."""

    def __init__(self, console: Console, max_epochs: int) -> None:
        columns = (
            TextColumn("training"),
            BarColumn(),
            TextColumn("epoch {task.completed}/{task.total}  {task.description}"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console)
        self._task = self._progress.add_task("starting TensorFlow", total=max_epochs)

    def __enter__(self) -> EpochDone:
        self._progress.start()
        return self._done

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _done(self, epoch: int, loss: float, validation_loss: float) -> None:
        described = f"loss {loss:.4f}, validation {validation_loss:.4f}"
        self._progress.update(self._task, completed=epoch + 1, description=described)


def print_result(console: Console, result: TrainResult) -> None:
    """The metrics on the bars held back, the model beside persistence."""
    table = Table(title=f"{result.version} on the bars held back", box=box.SIMPLE_HEAD)
    for column in ("horizon", "", "windows", "MSE", "MAE", "R2", "skill", "direction"):
        table.add_column(column, justify="right", no_wrap=True)
    for horizon, of in result.metrics.items():
        for name, m in of.items():
            unknown = math.isnan(m.directional_accuracy)
            table.add_row(
                str(horizon),
                "LSTM" if name == LSTM else name,
                str(m.n_windows),
                f"{m.mse:.5g}",
                f"{m.mae:.4g}",
                f"{m.r2:.4f}",
                f"{m.skill:.2%}",
                "-" if unknown else f"{m.directional_accuracy:.1%}",
            )
    console.print(table)
    state = "champion" if result.promoted else "not champion"
    text = f"{result.version}: {state}; {result.reason}"
    console.print(text, markup=False, soft_wrap=True)


if __name__ == "__main__":
    run_program(app)
