"""Walk-forward evaluation of every recorded series: `make evaluate`.

`python -m jobs.evaluate --data DIR` takes every `*.csv.gz` of a folder. Each series is evaluated by
itself, in five expanding folds; a table goes to the screen and `reports/evaluate.json`.
"""

import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from conf.errors import CandlecastError, ConfigurationError
from conf.settings import load_settings
from jobs.train import model_settings_from
from model.evaluate import directional_accuracy, score, skill
from model.intervals import adapt_online
from model.series import Series, read_file
from model.significance import diebold_mariano, wilson_interval
from model.training import ModelSettings
from model.walk_forward import FoldSettings, WalkForward, walk_forward

app = typer.Typer(add_completion=False, help=__doc__)


@dataclass(frozen=True)
class Row:
    """One series of the table, at the first horizon; skills against persistence on returns."""

    series: str
    interval: str
    rows: int
    windows: int
    skill_lstm: float
    skill_arima: float
    skill_ridge: float
    mse_persistence: float
    mse_lstm: float
    mse_arima: float
    mae_lstm: float
    r2_lstm: float
    directional_accuracy: float
    directional_accuracy_95: tuple[float, float]
    dm_p_persistence: float
    dm_p_arima: float
    coverage_90: float
    skill_lstm_by_horizon: dict[int, float]
    seconds: float


def evaluate(
    series: Series,
    name: str,
    model: ModelSettings,
    fold_settings: FoldSettings,
    adapt_rate: float,
    coverage_share: float,
) -> Row:
    """Walk forward through one series and put its figures together.

    Coverage is that of the adaptive intervals over the last `coverage_share` of the series.
    """
    begun = time.monotonic()
    walked = walk_forward(series, model, fold_settings)
    return Row(
        series=name,
        interval=series.interval,
        rows=series.n_present,
        windows=len(walked.ends),
        **_figures(walked, model.horizons[0]),
        coverage_90=_late_coverage(walked, series, model, adapt_rate, coverage_share),
        skill_lstm_by_horizon={
            h: skill(walked.came[:, i], walked.forecasts["lstm"][:, i])
            for i, h in enumerate(model.horizons)
        },
        seconds=round(time.monotonic() - begun, 1),
    )


def _figures(walked: WalkForward, horizon: int) -> dict[str, Any]:
    came, last = walked.came[:, 0], walked.last_close
    forecasts = {name: f[:, 0] for name, f in walked.forecasts.items()}
    actual = last * np.exp(came)
    prices = {name: score(last, last * np.exp(f), actual) for name, f in forecasts.items()}
    own = forecasts["lstm"]
    loss = (came - own) ** 2
    moved = int(np.count_nonzero((came != 0) & (own != 0)))
    accuracy = directional_accuracy(came, own)
    hits = 0 if moved == 0 else round(accuracy * moved)
    return {
        "skill_lstm": prices["lstm"].skill,
        "skill_arima": prices["arima"].skill,
        "skill_ridge": prices["ridge"].skill,
        "mse_persistence": score(last, last, actual).mse,
        "mse_lstm": prices["lstm"].mse,
        "mse_arima": prices["arima"].mse,
        "mae_lstm": prices["lstm"].mae,
        "r2_lstm": prices["lstm"].r2,
        "directional_accuracy": accuracy,
        "directional_accuracy_95": wilson_interval(hits, moved),
        "dm_p_persistence": diebold_mariano(loss, came**2, horizon).p_value,
        "dm_p_arima": diebold_mariano(loss, (came - forecasts["arima"]) ** 2, horizon).p_value,
    }


def _late_coverage(
    walked: WalkForward, series: Series, model: ModelSettings, rate: float, share: float
) -> float:
    """Share of first-horizon prices inside their interval over the end of the series."""
    covered = adapt_online(walked.scores[:, 0], model.horizons[0], model.coverage, rate)
    late = walked.ends >= len(series.bars) * (1 - share)
    return float(np.mean(covered[late])) if late.any() else float("nan")


@app.command()
def main(
    data: Annotated[Path, typer.Option(help="A folder of price files (*.csv.gz).")] = Path("data"),
    report: Annotated[Path | None, typer.Option(help="Where the figures go as JSON.")] = None,
    only: Annotated[str, typer.Option(help="Only series whose name contains this.")] = "",
) -> None:
    """Evaluate every series of a folder by walk-forward."""
    console = Console()
    try:
        settings = load_settings()
        section = settings.evaluation
        rows = evaluate_files(
            [file for file in series_files(data) if only in file.name],
            model_settings_from(settings),
            FoldSettings(section.folds, section.first_train_share),
            settings.intervals.adapt_rate,
            section.coverage_share,
            console,
        )
        target = report or Path(settings.warehouse.reports_dir) / "evaluate.json"
        write_rows(target, rows)
        print_rows(console, rows)
        console.print(f"written: {target}", markup=False)
    except CandlecastError as error:
        console.print(f"evaluate: {error}", style="red", markup=False)
        raise typer.Exit(error.exit_code) from error


def evaluate_files(
    files: Sequence[Path],
    model: ModelSettings,
    fold_settings: FoldSettings,
    adapt_rate: float,
    coverage_share: float,
    console: Console,
) -> list[Row]:
    """A row for each file; one that can't be evaluated is named, with the reason, and left out."""
    rows = []
    columns = (
        TextColumn("{task.completed}/{task.total}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=sum(file.stat().st_size for file in files))
        for file in files:
            name = file.name.removesuffix(".csv.gz")
            progress.update(task, description=name)
            try:
                series = read_file(file, name)
                rows.append(
                    evaluate(series, name, model, fold_settings, adapt_rate, coverage_share)
                )
                if not console.is_terminal:
                    console.print(_line(rows[-1]), markup=False, soft_wrap=True)
            except ConfigurationError as error:
                console.print(f"left out: {name}: {error}", style="yellow", markup=False)
            progress.advance(task, file.stat().st_size)
    return rows


def series_files(folder: Path) -> list[Path]:
    """Every `*.csv.gz` of a folder; raises ConfigurationError where there is none."""
    found = sorted(folder.glob("*.csv.gz"))
    if not found:
        raise ConfigurationError(f"no price series (*.csv.gz) in {folder}")
    return found


def write_rows(target: Path, rows: Sequence[Row]) -> None:
    """Write the table as JSON, a list of rows; what is not a number becomes null."""
    target.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps([asdict(row) for row in rows], indent=1)
    target.write_text(re.sub(r"\bNaN\b", "null", text) + "\n")


def print_rows(console: Console, rows: Sequence[Row]) -> None:
    """The table for people; skills, direction and coverage in per cent."""
    lines = [_HEAD, *(_line(row) for row in rows)]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
    console.print("R2 of prices is near 1 for any forecast that repeats the last price.")


_HEAD: Final = (
    f"{'series':46} {'windows':>7} {'LSTM':>6} {'ARIMA':>6} {'ridge':>6} "
    f"{'direction':>12} {'p pers.':>8} {'p ARIMA':>8} {'R2':>8} {'cover':>5} {'s':>4}"
)


def _line(row: Row) -> str:
    low, high = row.directional_accuracy_95
    direction = f"{100 * row.directional_accuracy:.1f} {100 * low:.0f}-{100 * high:.0f}"
    return (
        f"{row.series:46} {row.windows:7} {100 * row.skill_lstm:6.2f} {100 * row.skill_arima:6.2f} "
        f"{100 * row.skill_ridge:6.2f} {direction:>12} {row.dm_p_persistence:8.2g} "
        f"{row.dm_p_arima:8.2g} {row.r2_lstm:8.5f} {100 * row.coverage_90:5.1f} {row.seconds:4.0f}"
    )


if __name__ == "__main__":
    app()
