"""Let an artifact, and others beside it, forecast bars that it was not trained on."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from conf.errors import NotEnoughBars
from model.artifact import Artifact
from model.baselines import Baseline
from model.dataset import Span, window_ends
from model.forecast import Forecast, Forecaster
from model.intervals import CENTRAL, UPPER, central_widths
from model.outcomes import LSTM, PERSISTENCE, Floats, Metrics, Outcomes, joined
from model.series import Series
from model.volatility import volatilities

# Windows that a volatility is made a distribution by.
_CALIBRATED: Final = 2_000


def forecast_outcomes(
    series: Series,
    part: Span,
    models: Mapping[str, Forecaster],
    baselines: Mapping[str, Baseline] | None = None,
    volatile: Sequence[str] = (),
) -> Outcomes:
    """What `models` and `baselines` forecast for the windows of `part`, and the actuals.

    The first model's horizons count, and the scale is of its intervals; a model that lacks one of
    them has NaN there. A window has the bars that every model looks back on. Models have spreads,
    and so have those of VOLATILITIES that `volatile` names, around the last price.
    """
    first = next(iter(models.values()))
    horizons, lookback = first.horizons, max(m.lookback for m in models.values())
    ends = window_ends(series, part, lookback, horizons)
    last = series.close[ends][:, None]
    symbols = [series.symbol] * len(ends)
    found = {name: model.predict(series.bars, ends, symbols) for name, model in models.items()}
    forecasts = {
        name: _at(horizons, models[name], np.log(of.predicted_close / last))
        for name, of in found.items()
    }
    spreads = {name: _spread(horizons, models[name], of) for name, of in found.items()}
    spreads |= _volatile_spreads(volatile, series, part, ends, first)
    for name, baseline in (baselines or {}).items():
        forecasts[name] = baseline.log_returns(series.close, ends, horizons)
    closes = np.concatenate([last, series.close[ends[:, None] + np.array(horizons)]], axis=1)
    lead = next(iter(found.values()))
    return Outcomes.of_windows(
        series.symbol,
        series.close_times(ends),
        horizons,
        closes,
        forecasts,
        np.log(lead.upper / lead.predicted_close),
        lead.trailing,
        spreads,
    )


def _spread(horizons: Sequence[int], model: Forecaster, found: Forecast) -> Floats:
    """Half-widths (n_windows, n_horizons, n_intervals) of the intervals of CENTRAL.

    A model that is calibrated for another interval alone has those of a Laplace distribution.
    """
    own = np.log(found.upper / found.predicted_close)
    widths = []
    for coverage, name in zip(CENTRAL, UPPER, strict=True):
        width = np.log(found.quantiles[name] / found.predicted_close)
        of_laplace = own * math.log(1 - coverage) / math.log(1 - model.coverage)
        widths.append(_at(horizons, model, np.where(np.isnan(width), of_laplace, width)))
    return np.stack(widths, axis=2)


def _volatile_spreads(
    names: Sequence[str],
    series: Series,
    part: Span,
    ends: NDArray[np.int64],
    first: Forecaster,
) -> dict[str, Floats]:
    """Half-widths as of `_spread`, by the conformal step on the newest windows before `part`."""
    before = window_ends(series, Span(0, part.start), first.lookback, first.horizons)[-_CALIBRATED:]
    n_fitted = len(series.until(part.start).bars)
    scales = volatilities(names, series.close, n_fitted, first.lookback, first.horizons)
    ahead = before[:, None] + np.array(first.horizons)
    moved = np.abs(np.log(series.close[ahead] / series.close[before][:, None]))
    return {
        name: scale[ends][:, :, None] * central_widths(moved / scale[before])
        for name, scale in scales.items()
    }


def _at(horizons: Sequence[int], model: Forecaster, log_returns: Floats) -> Floats:
    """The columns of `horizons` out of those of the model's own; NaN for one that it lacks."""
    if model.horizons == horizons:
        return log_returns
    own = {horizon: log_returns[:, i] for i, horizon in enumerate(model.horizons)}
    none = np.full(len(log_returns), np.nan)
    return np.stack([own.get(horizon, none) for horizon in horizons], axis=1)


def held_out_metrics(
    artifact: Artifact, series: Sequence[Series], part: Span
) -> dict[int, dict[str, Metrics]]:
    """For each horizon the metrics of "lstm" and "persistence", over the windows of `part`.

    Raises NotEnoughBars where `part` holds no complete window.
    """
    forecaster = Forecaster(artifact)
    outcomes = joined([forecast_outcomes(one, part, {LSTM: forecaster}) for one in series])
    if len(outcomes) == 0:
        raise NotEnoughBars(
            "no complete window among the bars held back: collect more bars without a gap, or "
            "shorten training.horizons"
        )
    return {
        horizon: {name: outcomes.at(horizon).metrics(name) for name in (LSTM, PERSISTENCE)}
        for horizon in forecaster.horizons
    }
