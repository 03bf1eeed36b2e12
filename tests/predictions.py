"""What should be predicted: a plain pass of NumPy and ONNX over the same bars."""

import numpy as np
import pandas as pd

from conf.sections import Market
from conf.sections import Registry as RegistrySettings
from ingest.bar import Bar
from jobs.demo.report import series_of
from model.features import complete_windows
from model.forecast import Forecaster
from model.intervals import QUANTILES
from model.leaders import with_leaders
from model.news import ScoredArticles, with_news
from model.registry import Registry

IDENTITY = ["symbol", "as_of", "horizon"]
PRICES = ["last_close", "predicted_close", "lower", "upper", "scale", *QUANTILES]


def batch_predictions(
    bars: list[Bar],
    registry: RegistrySettings,
    version: str = "1m-1",
    articles: ScoredArticles | None = None,
    market: Market | None = None,
) -> pd.DataFrame:
    """What a plain pass of NumPy and ONNX over the bars, their news and leaders, predicts."""
    forecaster = Forecaster(Registry.of(registry).load(version))
    frames = []
    alone = series_of(bars)
    for series in alone if market is None else with_leaders(alone, market.of):
        read = series if articles is None else with_news(series, articles)
        ends = np.flatnonzero(complete_windows(series.needed_close, forecaster.lookback))
        forecast = forecaster.predict(read.bars, ends, [series.symbol] * len(ends))
        as_of = series.close_times(ends)
        for column, horizon in enumerate(forecaster.horizons):
            frames.append(
                pd.DataFrame(
                    {
                        "symbol": series.symbol,
                        "as_of": pd.to_datetime(as_of, unit="ms", utc=True),
                        "horizon": horizon,
                        "last_close": forecast.last_close,
                        "predicted_close": forecast.predicted_close[:, column],
                        "lower": forecast.lower[:, column],
                        "upper": forecast.upper[:, column],
                        "scale": forecast.scale[:, column],
                        **{name: at[:, column] for name, at in forecast.quantiles.items()},
                    }
                )
            )
    return pd.concat(frames)


def batch_predictions_with(
    market: Market, bars: list[Bar], registry: RegistrySettings
) -> pd.DataFrame:
    """Both models of `random_champion` with a market, the one that reads leaders first."""
    led = batch_predictions(bars, registry, "1m-2", market=market).assign(model_version="1m-2")
    alone = batch_predictions(bars, registry, "1m-1").assign(model_version="1m-1")
    return pd.concat([led, alone])


def assert_same_predictions(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """The same windows, each once, with the same prices to 1e-5."""
    left = found.sort_values(IDENTITY).reset_index(drop=True)
    right = expected.sort_values(IDENTITY).reset_index(drop=True)
    assert left[IDENTITY].astype(str).equals(right[IDENTITY].astype(str))
    np.testing.assert_allclose(left[PRICES], right[PRICES], rtol=1e-5)
