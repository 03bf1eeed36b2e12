"""`reports/<model_version>/index.html`: what a model is worth, in one file that needs no other."""

import base64
import html
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from model.artifact import Artifact
from model.baselines import ARIMA, BASELINES, fit_baselines
from model.dataset import Span
from model.forecast import Forecaster
from model.intervals import adapt_online
from model.lstm import History
from model.outcomes import LSTM, PERSISTENCE, Outcomes
from model.series import Series
from model.validate import forecast_outcomes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHOWN_BARS: Final = 300
_SHOWN_NAMES: Final = {LSTM: "LSTM", ARIMA: "ARIMA"}
_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse } td, th { padding: .2rem .8rem; text-align: right }
th { border-bottom: 1px solid #888 } td:first-child, th:first-child { text-align: left }
img { max-width: 100%; height: auto } .note { color: #555 }
"""


def held_back_outcomes(
    artifact: Artifact, series: Sequence[Series], train: Span, held_back: Span
) -> list[Outcomes]:
    """What the model and the baselines, fitted on `train`, forecast in `held_back`, by series.

    A series without a complete window there is left out.
    """
    forecaster = Forecaster(artifact)
    lookback, horizons = forecaster.lookback, forecaster.horizons
    found = [
        forecast_outcomes(
            one,
            held_back,
            {LSTM: forecaster},
            fit_baselines(BASELINES, one, train, lookback, horizons),
        )
        for one in series
    ]
    return [outcomes for outcomes in found if len(outcomes)]


def write_report(
    folder: Path,
    artifact: Artifact,
    history: History,
    judged: Sequence[Outcomes],
    verdict: str,
    adapt_rate: float,
) -> Path:
    """Write `index.html` and the figures as PNG files beside it; returns the page.

    `verdict` is what the gate said. The page holds its figures: it can be sent alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest = artifact.manifest
    figures = {"loss": ("Training and validation loss", _loss_figure(history))}
    for one in judged:
        first, symbol = one.at(manifest.horizons[0]), str(one.symbol[0])
        covered = adapt_online(
            np.abs(first.residuals(LSTM)), manifest.horizons[0], manifest.coverage, adapt_rate
        )
        titled = {
            "prices": ("Predicted and actual prices", _prices(first)),
            "coverage": (
                f"Share of prices inside the {manifest.coverage:.0%} interval",
                _coverage(first, covered, manifest.coverage),
            ),
            "residuals": ("Residuals over time", _residuals(first)),
        }
        for name, (title, figure) in titled.items():
            figures[f"{name}-{symbol.lower()}"] = (f"{title}, {symbol}", figure)
    sections = [
        _header(artifact, verdict),
        *(_table(one, manifest.horizons, manifest.coverage, adapt_rate) for one in judged),
    ]
    for name, (title, figure) in figures.items():
        png = _png(figure)
        (folder / f"{name}.png").write_bytes(png)
        encoded = base64.b64encode(png).decode()
        sections.append(
            f'<h2>{html.escape(title)}</h2><img alt="{html.escape(title)}" '
            f'src="data:image/png;base64,{encoded}">'
        )
    page = folder / "index.html"
    page.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{artifact.version}</title>'
        f"<style>{_STYLE}</style><body>{''.join(sections)}</body></html>\n"
    )
    return page


def _header(artifact: Artifact, verdict: str) -> str:
    manifest = artifact.manifest
    times = (manifest.trained_from, manifest.validated_from, manifest.trained_until)
    start, middle, end = (str(np.datetime64(t, "ms"))[:16].replace("T", " ") for t in times)
    return (
        f"<h1>{html.escape(artifact.version)}</h1><p>{html.escape(verdict)}</p>"
        f'<p class="note">Bars of {manifest.interval}: {html.escape(", ".join(manifest.symbols))}. '
        f"Trained on {start} to {end}, interval widths on what follows {middle}, all UTC; "
        f"everything below is later. "
        f"R&sup2; of prices is near 1 for any forecast that repeats the last price: look at skill, "
        f"1 - MSE / MSE of persistence on returns. p-values are two-sided Diebold-Mariano.</p>"
    )


def _table(one: Outcomes, horizons: Sequence[int], coverage: float, rate: float) -> str:
    heads = ("", "horizon", "MSE", "MAE", "R&sup2;", "skill", "direction (95 %)", "p persistence")
    rows = [_cells(one.at(h), h, name) for h in horizons for name in (*one.forecasts, PERSISTENCE)]
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    head = "".join(f"<th>{head}</th>" for head in heads)
    first = one.at(horizons[0])
    residuals = np.abs(first.residuals(LSTM))
    covered = adapt_online(residuals, horizons[0], coverage, rate)
    return (
        f"<h2>{html.escape(str(one.symbol[0]))}, {len(first)} windows held back</h2>"
        f"<table><tr>{head}</tr>{body}</table><p>LSTM against ARIMA at the first horizon: "
        f"p {first.against(LSTM, ARIMA).p_value:.3f}. The {coverage:.0%} interval held "
        f"{np.mean(residuals <= 1):.1%} of prices as calibrated, "
        f"{np.mean(covered):.1%} adapting.</p>"
    )


def _cells(one: Outcomes, horizon: int, name: str) -> tuple[object, ...]:
    metrics = one.metrics(name)
    share, low, high = one.direction(name)
    return (
        _SHOWN_NAMES.get(name, name),
        horizon,
        f"{metrics.mse:.5g}",
        f"{metrics.mae:.5g}",
        f"{metrics.r2:.5f}",
        f"{metrics.skill:.2%}",
        "-" if math.isnan(share) else f"{share:.1%} ({low:.0%} to {high:.0%})",
        "-" if name == PERSISTENCE else f"{one.against(name, PERSISTENCE).p_value:.3f}",
    )


def _figure() -> tuple["Figure", "Axes"]:
    """A figure of its own and its axes, without pyplot's global state."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    return figure, figure.subplots()


def _loss_figure(history: History) -> "Figure":
    figure, axes = _figure()
    epochs = range(1, len(history.train_loss) + 1)
    axes.plot(epochs, history.train_loss, label="training")
    axes.plot(epochs, history.validation_loss, label="validation")
    axes.set(xlabel="epoch", ylabel="mean squared error (in volatilities)")
    axes.legend()
    return figure


def _prices(first: Outcomes) -> "Figure":
    figure, axes = _figure()
    times = first.time[-_SHOWN_BARS:].astype("datetime64[ms]")
    last, forecast, scale = first.last_close, first.forecast(LSTM), first.scale
    prices = {
        name: (last * np.exp(moved))[-_SHOWN_BARS:]
        for name, moved in (
            ("lower", forecast - scale),
            ("upper", forecast + scale),
            ("actual", first.actual),
            ("predicted", forecast),
        )
    }
    axes.fill_between(times, prices["lower"], prices["upper"], alpha=0.2, label="interval")
    for name in ("actual", "predicted"):
        axes.plot(times, prices[name], label=name, linewidth=1)
    axes.set(xlabel="time (UTC)", ylabel="price")
    axes.legend()
    return figure


def _coverage(first: Outcomes, adapting: NDArray[np.bool_], coverage: float) -> "Figure":
    figure, axes = _figure()
    span = max(1, len(first) // 10)
    times = first.time[span - 1 :].astype("datetime64[ms]")
    calibrated = np.abs(first.residuals(LSTM)) <= 1
    for label, covered in (("as calibrated", calibrated), ("adapting", adapting)):
        share = np.convolve(covered, np.full(span, 1 / span), mode="valid")
        axes.plot(times, share, label=f"{label}, over {span} windows", linewidth=1)
    axes.axhline(coverage, color="black", linewidth=0.8, linestyle="--")
    axes.set(xlabel="time (UTC)", ylabel="covered")
    axes.legend()
    return figure


def _residuals(first: Outcomes) -> "Figure":
    figure, axes = _figure()
    residual = first.actual - first.forecast(LSTM)
    axes.plot(first.time.astype("datetime64[ms]"), 1e4 * residual, ".", markersize=2)
    axes.set(xlabel="time (UTC)", ylabel="residual (basis points)")
    return figure


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
