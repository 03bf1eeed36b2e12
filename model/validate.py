"""Let an artifact, and others beside it, forecast bars that it was not trained on."""

from collections.abc import Mapping, Sequence

import numpy as np

from conf.errors import NotEnoughBars
from model.artifact import Artifact
from model.baselines import Baseline
from model.dataset import Span, window_ends
from model.forecast import Forecaster
from model.outcomes import LSTM, PERSISTENCE, Floats, Metrics, Outcomes, joined
from model.series import Series


def forecast_outcomes(
    series: Series,
    part: Span,
    models: Mapping[str, Forecaster],
    baselines: Mapping[str, Baseline] | None = None,
) -> Outcomes:
    """What `models` and `baselines` forecast for the windows of `part`, and the actuals.

    The first model's horizons count, and the scale is of its intervals; a model that lacks one of
    them has NaN there. A window has the bars that every model looks back on.
    """
    first = next(iter(models.values()))
    horizons = first.horizons
    ends = window_ends(series, part, max(m.lookback for m in models.values()), horizons)
    last = series.close[ends][:, None]
    forecasts, scales = {}, []
    for name, model in models.items():
        found = model.predict(series.bars, ends, [series.symbol] * len(ends))
        forecasts[name] = _at(horizons, model, np.log(found.predicted_close / last))
        scales.append(np.log(found.upper / found.predicted_close))
    for name, baseline in (baselines or {}).items():
        forecasts[name] = baseline.log_returns(series.close, ends, horizons)
    closes = np.concatenate([last, series.close[ends[:, None] + np.array(horizons)]], axis=1)
    return Outcomes.of_windows(
        series.symbol, series.close_times(ends), horizons, closes, forecasts, scales[0]
    )


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
        raise NotEnoughBars("no complete window among the bars held back: collect more bars")
    return {
        horizon: {name: outcomes.at(horizon).metrics(name) for name in (LSTM, PERSISTENCE)}
        for horizon in forecaster.horizons
    }
