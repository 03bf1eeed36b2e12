"""Walk-forward evaluation of every recorded series.

`candlecast evaluate --data DIR` takes every recorded file of a folder. Each series is evaluated by
itself, in five expanding folds; a table goes to the screen and `reports/evaluate.json`. With
`--leaders btcusdt,ethusdt` the folder is a market: one model forecasts all its series, each read
beside the bars that its leaders have at the same time.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from conf.errors import CandlecastError, ConfigurationError
from conf.sections import Evaluation, Market
from conf.settings import load_settings, wrong_settings
from jobs.terminal.program import run_program
from model.baselines import ARIMA, BASELINES
from model.leaders import with_leaders
from model.leak import LeakCheck, check_for_leak, shuffled_bars
from model.outcomes import LSTM, PERSISTENCE
from model.scorecard import Row, score_market
from model.series import Series
from model.training import ModelSettings
from model.volatility import TRAILING, VOLATILITIES
from store.recorded import read_file, series_files, series_name


def main(
    data: Annotated[Path, typer.Option(help="A folder of recorded files.")] = Path("data"),
    report: Annotated[Path | None, typer.Option(help="Where the figures go as JSON.")] = None,
    only: Annotated[str, typer.Option(help="Only series whose name contains this.")] = "",
    leaders: Annotated[
        str, typer.Option(help="btcusdt,ethusdt: series that move first; BTC-USDT does as well.")
    ] = "",
) -> None:
    """Evaluate every series of a folder by walk-forward."""
    console = Console()
    settings = load_settings()
    files = [file for file in series_files(data) if only in file.name]
    model = ModelSettings(settings.window.lookback, settings.training, settings.intervals)
    earliest_ms = settings.ingest.earliest_ms
    if leaders:
        market = read_market(files, leaders.split(","), earliest_ms)
        rows = score_market(market, model, settings.evaluation)
    else:
        rows = evaluate_files(files, model, settings.evaluation, console, earliest_ms)
    target = report or Path(settings.warehouse.reports_dir) / "evaluate.json"
    write_rows(target, rows)
    print_rows(console, rows, settings.market.fee_bp)
    console.print(f"written: {target}", markup=False)
    if leaders:
        followers = [one for one in market if any(one.leaders)] or market
        shortest = min(followers, key=lambda series: series.n_present)
        shuffled = shuffled_bars(shortest, model.training.seed)
        leak = check_for_leak(shuffled, model, settings.evaluation)
    else:
        leak = shortest_shuffled(files, model, settings.evaluation, earliest_ms)
    print_leak(console, leak)
    if leak.leaks:
        raise typer.Exit(1)


def evaluate_files(
    files: Sequence[Path],
    model: ModelSettings,
    evaluation: Evaluation,
    console: Console,
    earliest_ms: int = 0,
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
            name = series_name(file)
            progress.update(task, description=name)
            try:
                series = read_file(file, name, earliest_ms=earliest_ms)
                rows.extend(score_market([series], model, evaluation))
                if not console.is_terminal:
                    console.print(_line(rows[-1]), markup=False, soft_wrap=True)
            except (CandlecastError, OSError, EOFError, ValueError) as error:
                console.print(f"left out: {name}: {error}", style="yellow", markup=False)
            progress.advance(task, file.stat().st_size)
    return rows


def read_market(
    files: Sequence[Path], leaders: Sequence[str], earliest_ms: int = 0
) -> list[Series]:
    """The series of the files, each with the bars of its leaders.

    Raises ConfigurationError where a leader is no file's or several files', or the lengths of the
    bars differ.
    """
    names = [_named(leader.strip(), [series_name(file) for file in files]) for leader in leaders]
    series = [read_file(file, series_name(file), earliest_ms=earliest_ms) for file in files]
    if len(lengths := {one.interval for one in series}) > 1:
        raise ConfigurationError(
            f"bars of {', '.join(sorted(lengths))} in one folder: a market has one length of bar; "
            "choose some with --only"
        )
    try:
        market = Market(leaders=names, leaders_of={})
    except ValidationError as error:
        raise wrong_settings(error, "market") from error
    return with_leaders(series, market.of)


def _named(leader: str, names: Sequence[str]) -> str:
    """The one of `names` that is of this symbol.

    >>> _named("COINBASE:BTC-USD", ["btcusd_coinbase_1m_2023-03", "btcusd_kraken_1m_2023-03"])
    'btcusd_coinbase_1m_2023-03'
    """
    venue, _, pair = leader.casefold().replace("-", "").rpartition(":")
    found = [
        name
        for name, (first, *rest) in ((name, name.casefold().split("_")) for name in names)
        if first.replace("-", "") == pair and (not venue or venue in rest)
    ]
    if len(found) == 1:
        return found[0]
    which = f"several: {', '.join(found)}; name its venue or use --only" if found else "no file"
    raise ConfigurationError(f"--leaders {leader} is {which}")


def shortest_shuffled(
    files: Sequence[Path], model: ModelSettings, evaluation: Evaluation, earliest_ms: int = 0
) -> LeakCheck:
    """Evaluate the smallest file that is long enough once more, its bars in random order.

    Raises ConfigurationError where none is.
    """
    for file in sorted(files, key=lambda f: f.stat().st_size):
        try:
            series = read_file(file, file.name, earliest_ms=earliest_ms)
            return check_for_leak(shuffled_bars(series, model.training.seed), model, evaluation)
        except CandlecastError:
            continue
    raise ConfigurationError("no series is long enough to look for a leak on")


def print_leak(console: Console, leak: LeakCheck) -> None:
    """What the shuffled run showed, and what it means."""
    meaning = "the future LEAKS into the forecasts" if leak.leaks else "no leak"
    console.print(
        f"shuffled bars: skill {leak.skill:.2%}, p {leak.p_value:.2g}: {meaning}", markup=False
    )


def write_rows(target: Path, rows: Sequence[Row]) -> None:
    """Write the table as JSON, a list of rows; what is not a number becomes null."""
    target.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps([asdict(row) for row in rows], indent=1)
    target.write_text(re.sub(r"\bNaN\b", "null", text) + "\n")


def print_rows(console: Console, rows: Sequence[Row], fee_bp: float) -> None:
    """The table for people; skills, direction and coverage in per cent, fees in basis points."""
    lines = [_HEAD, *(_line(row) for row in rows)]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
    console.print("Better than each volatility by, in per cent (90 % interval's score / CRPS):")
    for row in rows:
        console.print(_spread_line(row), markup=False, highlight=False, soft_wrap=True)
    console.print(
        "Livelier than usual, or not: said rightly, in per cent (LSTM / trailing volatility)"
    )
    for row in rows:
        said = (f"{h}: {_said(of)}" for h, of in row.livelier.items())
        console.print(f"{row.series:46} {' | '.join(said)}", markup=False, highlight=False)
    console.print("Would it have paid, before any cost but the fee? No advice.")
    for row in rows:
        sentence = next(iter(row.paid.values()))[LSTM].sentence(fee_bp)
        console.print(f"{row.series}: {sentence}", markup=False, highlight=False, soft_wrap=True)
    console.print("R2 of prices is near 1 for any forecast that repeats the last price.")


def _said(rightly: Mapping[str, float]) -> str:
    return " / ".join(f"{100 * rightly[name]:.1f}" for name in (LSTM, TRAILING))


def _spread_line(row: Row) -> str:
    """By how much the 90 % interval and the CRPS are better, at each horizon."""
    parts = []
    for horizon, one in row.spread.items():
        better = {
            name: [100 * one.better(score, name) for score in ("interval_score", "crps")]
            for name in VOLATILITIES
        }
        shares = (f"{name} {by[0]:+.1f}/{by[1]:+.1f}" for name, by in better.items())
        parts.append(f"{horizon}: {' '.join(shares)}")
    return f"{row.series:46} {' | '.join(parts)}"


_HEAD: Final = (
    f"{'series':46} {'windows':>7} {'LSTM':>6} {'ARIMA':>6} {'ridge':>6} "
    f"{'direction':>12} {'p pers.':>8} {'p ARIMA':>8} {'R2':>8} {'cover':>5} {'s':>4}"
)


def _line(row: Row) -> str:
    low, high = row.directional_accuracy_95
    direction = f"{100 * row.directional_accuracy:.1f} {100 * low:.0f}-{100 * high:.0f}"
    skills = " ".join(f"{100 * row.skill[name]:6.2f}" for name in (LSTM, *BASELINES))
    return (
        f"{row.series:46} {row.windows:7} {skills} "
        f"{direction:>12} {row.dm_p[PERSISTENCE]:8.2g} {row.dm_p[ARIMA]:8.2g} "
        f"{row.r2[LSTM]:8.5f} {100 * row.coverage_90:5.1f} {row.seconds:4.0f}"
    )


if __name__ == "__main__":
    run_program(lambda: typer.run(main))
