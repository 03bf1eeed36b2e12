"""`reports/<model_version>/index.html`: what a model is worth, in one file that needs no other."""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from model.artifact import Artifact
from model.baselines import ARIMA, BASELINES, fit_baselines
from model.dataset import Span
from model.forecast import Forecaster
from model.intervals import CENTRAL, adapt_online
from model.lstm import History
from model.outcomes import LSTM, PERSISTENCE, Outcomes, shown_name
from model.paid import would_have_paid
from model.series import Series
from model.spread_figures import spread_figures
from model.validate import forecast_outcomes
from model.volatility import VOLATILITIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHOWN_BARS: Final = 300
_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse } td, th { padding: .2rem .8rem; text-align: right }
th { border-bottom: 1px solid #888 } td:first-child, th:first-child { text-align: left }
img { max-width: 100%; height: auto } .note { color: #555 }
"""


def held_back_outcomes(
    artifact: Artifact, series: Sequence[Series], train: Span, held_back: Span
) -> list[Outcomes]:
    """What the model, VOLATILITIES and the baselines, fitted on `train`, forecast in `held_back`.

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
            VOLATILITIES,
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
    fee_bp: float,
) -> Path:
    """Write `index.html` and the figures as PNG files beside it; returns the page.

    `verdict` is what the gate said, `fee_bp` what the venue takes of a side. The page holds its
    figures: it can be sent alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest = artifact.manifest
    horizon, coverage = manifest.horizons[0], manifest.coverage
    sections = [_header(artifact, verdict)]
    figures = {"loss": ("Training and validation loss", _loss_figure(history))}
    for one in judged:
        first, symbol = one.at(horizon), str(one.symbol[0])
        adapting = adapt_online(np.abs(first.residuals(LSTM)), horizon, coverage, adapt_rate)
        sections.append(_table(one, manifest.horizons, coverage, adapting))
        sections.append(_how_far(one.tracked(adapt_rate), manifest.horizons))
        sections.append(_paid(one, manifest.horizons, fee_bp))
        inside = f"Share of prices inside the {coverage:.0%} interval"
        for name, title, figure in (
            ("prices", "Predicted and actual prices", _prices(first)),
            ("coverage", inside, _coverage(first, adapting, coverage)),
            ("residuals", "Residuals over time", _residuals(first)),
        ):
            figures[f"{name}-{symbol}"] = (f"{title}, {symbol}", figure)
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
        f"R2 of prices is near 1 for any forecast that repeats the last price: look at skill, "
        f"1 - MSE / MSE of persistence on returns. "
        f"The 95 % interval is that of the direction, p is of Diebold-Mariano against "
        f"persistence, two-sided.</p>"
    )


def _how_far(tracked: Outcomes, horizons: Sequence[int]) -> str:
    """What the spread is worth beside those of volatilities, each around the last price and tracked
    by its outcomes in the same way."""
    rows = []
    for horizon in horizons:
        found = spread_figures(tracked.at(horizon))
        for name in (LSTM, *VOLATILITIES):
            p = f"{found.dm_p[name]:.3f}" if name in found.dm_p else "-"
            scores = (f"{1e4 * of[name]:.3f}" for of in (found.crps, found.interval_score))
            rows.append((shown_name(name), horizon, *scores, f"{found.covered[name]:.1%}", p))
    head = ("", "horizon", "CRPS", "interval score", "covered", "p")
    note = (
        f"CRPS and the score of the {CENTRAL[-1]:.0%} interval in basis points of the log return; "
        "the less the better. p is of Diebold-Mariano on CRPS against the LSTM, two-sided."
    )
    return f"<p>How far?</p>{_html_table(head, rows)}<p>{note}</p>"


def _html_table(head: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>{body}</table>"


def _table(
    one: Outcomes, horizons: Sequence[int], coverage: float, adapting: NDArray[np.bool_]
) -> str:
    rows = [_cells(one.at(h), h, name) for h in horizons for name in (*one.forecasts, PERSISTENCE)]
    first = one.at(horizons[0])
    return (
        f"<h2>{html.escape(str(one.symbol[0]))}, {len(first)} windows held back</h2>"
        f"{_html_table([*rows[0]], (row.values() for row in rows))}"
        f"<p>LSTM against ARIMA at the first horizon: "
        f"p {first.against(LSTM, ARIMA).p_value:.3f}. The {coverage:.0%} interval held "
        f"{np.mean(_calibrated(first)):.1%} of prices as calibrated, "
        f"{np.mean(adapting):.1%} adapting.</p>"
    )


def _paid(one: Outcomes, horizons: Sequence[int], fee_bp: float) -> str:
    """Whether acting on the forecasts would have paid, a sentence for each horizon."""
    lines = (
        f"<li>{h} bars ahead: {would_have_paid(one.at(h), LSTM).sentence(fee_bp)}.</li>"
        for h in horizons
    )
    return f"<p>Would it have paid? No advice.</p><ul>{''.join(lines)}</ul>"


def _cells(one: Outcomes, horizon: int, name: str) -> dict[str, object]:
    """A row of the table by its headings."""
    _, low, high = one.direction(name)
    p = "-" if name == PERSISTENCE else f"{one.against(name, PERSISTENCE).p_value:.3f}"
    names = {"": shown_name(name), "horizon": horizon}
    return {**names, **one.metrics(name).shown(), "95 %": f"{low:.0%} to {high:.0%}", "p": p}


def _calibrated(first: Outcomes) -> NDArray[np.bool_]:
    """Which prices lie inside their intervals."""
    return np.abs(first.residuals(LSTM)) <= 1


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
    for label, covered in (("as calibrated", _calibrated(first)), ("adapting", adapting)):
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
