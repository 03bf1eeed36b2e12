"""`reports/<model_version>/index.html`: what a model is worth, in one file that needs no other."""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from model.artifact import Artifact
from model.baselines import Arima, Persistence, Ridge
from model.dataset import Span, window_ends
from model.evaluate import Metrics, directional_accuracy, score
from model.forecast import Forecast, Forecaster
from model.intervals import adapt_online
from model.lstm import History
from model.series import Series
from model.significance import diebold_mariano, wilson_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
_SHOWN_BARS: Final = 300
_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse } td, th { padding: .2rem .8rem; text-align: right }
th { border-bottom: 1px solid #888 } td:first-child, th:first-child { text-align: left }
img { max-width: 100%; height: auto } .note { color: #555 }
"""


@dataclass(frozen=True)
class Judged:
    """One series over the bars held back: what the model and the baselines said, and what came.

    `came` and each of `forecasts` are log returns (n_windows, n_horizons); `end_times` (n_windows,)
    epoch ms UTC; `scores` absolute errors over the interval's half-width.
    """

    symbol: str
    end_times: NDArray[np.int64]
    last_close: Floats
    came: Floats
    forecasts: dict[str, Floats]
    scores: Floats
    forecast: Forecast


def judged_series(artifact: Artifact, series: Series, train: Span, held_back: Span) -> Judged:
    """Let the model and the baselines, fitted on `train`, forecast the windows of `held_back`."""
    forecaster = Forecaster(artifact)
    horizons, lookback = forecaster.horizons, forecaster.lookback
    ends = window_ends(series, held_back, lookback, horizons)
    forecast = forecaster.predict(series.bars, ends)
    last = forecast.last_close[:, None]
    came = np.log(series.close[ends[:, None] + np.array(horizons)] / last)
    own = np.log(forecast.predicted_close / last)
    ridge = Ridge.fit(series.close, window_ends(series, train, lookback, horizons), horizons)
    arima = Arima.fit(series.until(train.end).close)
    return Judged(
        series.symbol,
        series.first_open_time + (ends + 1) * series.bar_ms,
        forecast.last_close,
        came,
        {
            "LSTM": own,
            "ARIMA": arima.log_returns(series.close, ends, horizons),
            "ridge": ridge.log_returns(series.close, ends, horizons),
            "persistence": Persistence().log_returns(series.close, ends, horizons),
        },
        np.abs(came - own) / np.log(forecast.upper / forecast.predicted_close),
        forecast,
    )


def write_report(
    folder: Path,
    artifact: Artifact,
    history: History,
    judged: Sequence[Judged],
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
        name = one.symbol.lower()
        figures[f"prices-{name}"] = (f"Predicted and actual prices, {one.symbol}", _prices(one))
        figures[f"coverage-{name}"] = (
            f"Share of prices inside the {manifest.coverage:.0%} interval, {one.symbol}",
            _coverage(one, manifest.horizons, manifest.coverage, adapt_rate),
        )
        figures[f"residuals-{name}"] = (f"Residuals over time, {one.symbol}", _residuals(one))
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


def _table(one: Judged, horizons: Sequence[int], coverage: float, rate: float) -> str:
    heads = ("", "horizon", "MSE", "MAE", "R&sup2;", "skill", "direction (95 %)", "p persistence")
    rows = []
    for index, horizon in enumerate(horizons):
        for name in one.forecasts:
            metrics = _metrics(one, name, index)
            p = diebold_mariano(
                _loss(one, name, index), _loss(one, "persistence", index), horizon
            ).p_value
            cells = (
                name,
                horizon,
                f"{metrics.mse:.5g}",
                f"{metrics.mae:.5g}",
                f"{metrics.r2:.5f}",
                f"{metrics.skill:.2%}",
                _direction(one, name, index),
                "-" if name == "persistence" else f"{p:.3f}",
            )
            rows.append("".join(f"<td>{cell}</td>" for cell in cells))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    head = "".join(f"<th>{head}</th>" for head in heads)
    against_arima = diebold_mariano(
        _loss(one, "LSTM", 0), _loss(one, "ARIMA", 0), horizons[0]
    ).p_value
    covered = adapt_online(one.scores[:, 0], horizons[0], coverage, rate)
    return (
        f"<h2>{html.escape(one.symbol)}, {len(one.last_close)} windows held back</h2>"
        f"<table><tr>{head}</tr>{body}</table><p>LSTM against ARIMA at the first horizon: "
        f"p {against_arima:.3f}. The {coverage:.0%} interval held "
        f"{np.mean(one.scores[:, 0] <= 1):.1%} of prices as calibrated, "
        f"{np.mean(covered):.1%} adapting.</p>"
    )


def _metrics(one: Judged, name: str, index: int) -> Metrics:
    last = one.last_close
    predicted = last * np.exp(one.forecasts[name][:, index])
    return score(last, predicted, last * np.exp(one.came[:, index]))


def _loss(one: Judged, name: str, index: int) -> Floats:
    loss: Floats = (one.came[:, index] - one.forecasts[name][:, index]) ** 2
    return loss


def _direction(one: Judged, name: str, index: int) -> str:
    came, forecast = one.came[:, index], one.forecasts[name][:, index]
    moved = int(np.count_nonzero((came != 0) & (forecast != 0)))
    if moved == 0:
        return "-"
    share = directional_accuracy(came, forecast)
    low, high = wilson_interval(round(share * moved), moved)
    return f"{share:.1%} ({low:.0%} to {high:.0%})"


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


def _prices(one: Judged) -> "Figure":
    figure, axes = _figure()
    times = one.end_times[-_SHOWN_BARS:].astype("datetime64[ms]")
    actual = (one.last_close * np.exp(one.came[:, 0]))[-_SHOWN_BARS:]
    axes.fill_between(
        times,
        one.forecast.lower[-_SHOWN_BARS:, 0],
        one.forecast.upper[-_SHOWN_BARS:, 0],
        alpha=0.2,
        label="interval",
    )
    axes.plot(times, actual, label="actual", linewidth=1)
    axes.plot(times, one.forecast.predicted_close[-_SHOWN_BARS:, 0], label="predicted", linewidth=1)
    axes.set(xlabel="time (UTC)", ylabel="price")
    axes.legend()
    return figure


def _coverage(one: Judged, horizons: Sequence[int], coverage: float, rate: float) -> "Figure":
    figure, axes = _figure()
    span = max(1, len(one.scores) // 10)
    times = one.end_times[span - 1 :].astype("datetime64[ms]")
    adapting = adapt_online(one.scores[:, 0], horizons[0], coverage, rate)
    for label, covered in (("as calibrated", one.scores[:, 0] <= 1), ("adapting", adapting)):
        share = np.convolve(covered, np.full(span, 1 / span), mode="valid")
        axes.plot(times, share, label=f"{label}, over {span} windows", linewidth=1)
    axes.axhline(coverage, color="black", linewidth=0.8, linestyle="--")
    axes.set(xlabel="time (UTC)", ylabel="covered")
    axes.legend()
    return figure


def _residuals(one: Judged) -> "Figure":
    figure, axes = _figure()
    residual = one.came[:, 0] - one.forecasts["LSTM"][:, 0]
    axes.plot(one.end_times.astype("datetime64[ms]"), 1e4 * residual, ".", markersize=2)
    axes.set(xlabel="time (UTC)", ylabel="residual (basis points)")
    return figure


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
