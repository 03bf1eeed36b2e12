"""Score an artifact on bars that it was not trained on, through the path that serves it."""

from collections.abc import Sequence

import numpy as np

from conf.errors import NotEnoughBars
from model.artifact import Artifact
from model.dataset import Span, window_ends
from model.evaluate import Metrics, score
from model.forecast import Forecaster
from model.series import Series


def held_out_metrics(
    artifact: Artifact, series: Sequence[Series], part: Span
) -> dict[int, tuple[Metrics, Metrics]]:
    """For each horizon the model's metrics and persistence's, over the windows of `part`.

    Raises ConfigurationError where `part` holds no complete window.
    """
    forecaster = Forecaster(artifact)
    last, predicted, actual = [], [], []
    for one in series:
        ends = window_ends(one, part, forecaster.lookback, forecaster.horizons)
        forecast = forecaster.predict(one.bars, ends)
        last.append(forecast.last_close)
        predicted.append(forecast.predicted_close)
        actual.append(one.close[ends[:, None] + np.array(forecaster.horizons)])
    last_close, forecasts, came = (np.concatenate(p) for p in (last, predicted, actual))
    if len(last_close) == 0:
        raise NotEnoughBars("no complete window among the bars held back: collect more bars")
    return {
        horizon: (
            score(last_close, forecasts[:, h], came[:, h]),
            score(last_close, last_close, came[:, h]),
        )
        for h, horizon in enumerate(forecaster.horizons)
    }
