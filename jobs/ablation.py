"""Do the news help? `make ablation`: an honest answer for a recorded series, with its proof.

`candlecast ablation` walks forward through daily bars with their news, without them, and with
them shuffled in time. Before that it shows that it would see an effect, on made-up series with one
planted, and that it sees none on series without. `--news FILE --bars FILE` takes other recordings.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
import typer
from rich.console import Console

from conf.errors import NotEnoughBars
from conf.settings import load_settings
from ingest.sources.recorded_news import read_headlines
from jobs.terminal.program import run_program
from model.ablation import Ablation, Comparison, Proof, prove, repeated
from model.news import with_news
from model.series import Series
from model.training import ModelSettings
from store.articles import scored
from store.recorded import read_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NEWS: Final = Path("data/news/cryptonews_headlines_2021-10_2022-07.csv.gz")
BARS: Final = Path("data/news/btcusd_bitstamp_coinbase_1d_2021-04_2022-07.csv.gz")
# A day's news are hardly about the price of two months ago, and there are few days.
LOOKBACK: Final = 20


def main(
    news: Annotated[Path, typer.Option(help="Headlines: time,title,source,subject.")] = NEWS,
    bars: Annotated[Path, typer.Option(help="The bars of one coin over the same time.")] = BARS,
    symbol: Annotated[str, typer.Option(help="Symbol of the bars.")] = "BTC-USD",
    runs: Annotated[int, typer.Option(min=1, help="How often to train, from other seeds.")] = 5,
    seeds: Annotated[int, typer.Option(min=1, help="Made-up series without an effect.")] = 20,
    lookback: Annotated[int, typer.Option(min=1, help="In bars.")] = LOOKBACK,
) -> None:
    """Say what the news bring, with interval and p-value; into reports/ablation.json."""
    console = Console(markup=False, highlight=False, soft_wrap=True)
    settings = load_settings()
    training = settings.training.model_copy(update={"horizons": (1,)})
    model = ModelSettings(lookback, training, settings.intervals)
    series = recorded(news, bars, symbol, int(settings.sentiment.delay_s * 1000))
    proof = prove(model, settings.evaluation, seeds)
    print_proof(console, proof)
    found = repeated(series, model, settings.evaluation, runs)
    print_found(console, found)
    folder = Path(settings.warehouse.reports_dir)
    write(folder, proof, found)
    console.print(f"written: {folder / 'ablation.json'}, ablation.png")


def recorded(news: Path, bars: Path, symbol: str, delay_ms: int) -> Series:
    """The bars of a file with the headlines of another, each available `delay_ms` after its
    publication. Raises NotEnoughBars where no headline falls into the bars."""
    series = with_news(read_file(bars, symbol), scored(read_headlines(news, delay_ms)))
    if not series.bars[:, 6].any():
        raise NotEnoughBars(f"no article of {news} became available within the bars of {bars}")
    return series


def print_proof(console: Console, proof: Proof) -> None:
    """What the ablation can see."""
    planted = proof.planted.against_without
    console.print(
        f"planted effect of {proof.effect:.0%}: skill {planted.difference:+.2%}"
        f" {_interval(planted)}, p {planted.p_value:.2g}\n"
        f"no effect: found in {proof.found} of {proof.seeds} series (5 % is chance)"
    )


def print_found(console: Console, found: Sequence[Ablation]) -> None:
    """What the news bring, run by run."""
    first = found[0]
    console.print(
        f"{first.n_windows} windows, {first.n_windows_with_news} of them with news in their last"
        " bar; skill in per cent at one bar"
    )
    for one in found:
        skills = "  ".join(f"{name} {100 * value:+.2f}" for name, value in one.skills.items())
        versus = "  ".join(
            f"over {name}: {c.difference:+.2%} {_interval(c)} p {c.p_value:.2g}"
            for name, c in (("none", one.against_without), ("shuffled", one.against_shuffled))
        )
        console.print(f"{skills}  {versus}")


def write(folder: Path, proof: Proof, found: Sequence[Ablation]) -> None:
    """`ablation.json` with every figure, `ablation.png` with what they look like."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "proof": {
            "effect": proof.effect,
            "planted": _plain(proof.planted),
            "series_without_effect": proof.seeds,
            "found_without_effect": proof.found,
        },
        "runs": [_plain(one) for one in found],
    }
    (folder / "ablation.json").write_text(json.dumps(figures, indent=1) + "\n")
    draw(folder / "ablation.png", proof, found)


def draw(file: Path, proof: Proof, found: Sequence[Ablation]) -> None:
    """Where on the way the news helped and where they hurt, and how sure the sum of it is."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    path, bars = figure.subplots(1, 2, width_ratios=(3, 2))
    for one in found:
        times = one.times.astype("datetime64[ms]")
        path.plot(times, np.cumsum(one.gain) * 1e4, color="#5e7ce2", alpha=0.7, lw=1)
    path.axhline(0, color="#888", lw=0.8)
    path.set_title("Squared error saved by the news so far (a line a run), 1e-4")
    path.tick_params(axis="x", rotation=30)
    _draw_differences(
        bars,
        [
            ("planted effect", proof.planted.against_without),
            ("news over none", found[0].against_without),
            ("news over shuffled", found[0].against_shuffled),
        ],
    )
    figure.savefig(file, dpi=110)


def _draw_differences(axes: "Axes", rows: Iterable[tuple[str, Comparison]]) -> None:
    for place, (name, one) in enumerate(rows):
        axes.plot([100 * one.low, 100 * one.high], [place, place], color="#5e7ce2", lw=3)
        axes.plot(100 * one.difference, place, "o", color="#e09f3e")
        axes.annotate(
            f"{name}: {one.difference:+.1%}, p {one.p_value:.2g}",
            (100 * one.difference, place),
            (0, 10),
            textcoords="offset points",
            ha="center",
        )
    axes.axvline(0, color="#888", lw=0.8)
    axes.set_yticks([])
    axes.margins(y=0.3, x=0.6)
    axes.set_title("Difference in skill, 95 % interval, per cent")


def _interval(one: Comparison) -> str:
    return f"({one.low:+.2%} to {one.high:+.2%})"


def _plain(one: Ablation) -> dict[str, Any]:
    figures = asdict(one)
    figures["times"] = [int(one.times[0]), int(one.times[-1])]
    del figures["gain"]
    return figures


if __name__ == "__main__":
    run_program(lambda: typer.run(main))
