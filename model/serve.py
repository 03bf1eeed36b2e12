"""The LSTM inside Spark: a pandas UDF that predicts every window of a micro-batch."""

import time
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import pandas as pd
from pyspark.sql import Column
from pyspark.sql.pandas.functions import pandas_udf
from pyspark.sql.types import (
    ArrayType,
    DoubleType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
)

from conf.intervals import INTERVAL_MS
from model.champions import ServedModel
from model.forecast import Forecaster

BAR_VALUES: Final = 6

FORECAST: Final = StructType(
    [
        StructField("as_of", ArrayType(LongType())),
        StructField("horizon", ArrayType(IntegerType())),
        StructField("last_close", ArrayType(DoubleType())),
        StructField("predicted_close", ArrayType(DoubleType())),
        StructField("lower", ArrayType(DoubleType())),
        StructField("upper", ArrayType(DoubleType())),
        StructField("coverage", DoubleType()),
        StructField("model_version", StringType()),
        StructField("predicted_at", LongType()),
    ]
)


# A worker lives for many micro-batches; a session is built once a version, and an old one is let
# go when its successor arrives, so that a year of retraining does not fill the memory.
_forecasters: dict[str, tuple[ServedModel, Forecaster]] = {}


def forecaster(interval: str, model: ServedModel) -> Forecaster:
    """This process's session for `model`, built when the version is new here."""
    held = _forecasters.get(interval)
    if held is None or held[0] != model:
        held = (model, Forecaster(model.artifact, interval_factor=model.interval_factors))
        _forecasters[interval] = held
    return held[1]


def forecast_udf(models: Mapping[str, ServedModel]) -> Callable[..., Column]:
    """The UDF for one micro-batch, bound to the champion of each interval.

    Its arguments: interval, open_time of the first bar (epoch ms), the bars (float64 bytes of
    (n_bars, 6)) and the rows at which windows end (int32 bytes). Its result: `FORECAST`, arrays
    over (window, horizon), windows outermost; null for an interval without a model.
    """

    def forecast(
        interval: pd.Series, first_time: pd.Series, bars: pd.Series, ends: pd.Series
    ) -> pd.DataFrame:
        rows: list[tuple[object, ...]] = [(None,) * len(FORECAST)] * len(interval)
        for name, model in models.items():
            chosen = np.flatnonzero(interval.to_numpy() == name)
            if len(chosen):
                args = (first_time.to_numpy()[chosen], bars.iloc[chosen], ends.iloc[chosen])
                for row, result in zip(chosen, forecast_series(name, model, *args), strict=True):
                    rows[row] = result
        return pd.DataFrame(rows, columns=FORECAST.names)

    wrapped: Callable[..., Column] = pandas_udf(forecast, returnType=FORECAST)  # type: ignore
    return wrapped


def forecast_series(
    interval: str, model: ServedModel, first_times: np.ndarray, bars: pd.Series, ends: pd.Series
) -> list[tuple[object, ...]]:
    """One row of `FORECAST` for each series, all windows predicted in one pass.

    The series are laid end to end; no window crosses from one to the next, since each window is
    complete within its own.
    """
    matrices = [np.frombuffer(raw, np.float64).reshape(-1, BAR_VALUES) for raw in bars]
    offsets = np.cumsum([0, *(len(matrix) for matrix in matrices)])
    local_ends = [np.frombuffer(raw, np.int32).astype(np.int64) for raw in ends]
    all_ends = np.concatenate([e + o for e, o in zip(local_ends, offsets[:-1], strict=True)])
    session = forecaster(interval, model)
    result = session.predict(np.concatenate(matrices), all_ends)
    predicted_at = time.time_ns() // 1_000_000
    horizons = np.asarray(session.horizons, np.int32)
    rows: list[tuple[object, ...]] = []
    stop = 0
    for first_time, own in zip(first_times, local_ends, strict=True):
        start, stop = stop, stop + len(own)
        as_of = first_time + (own + 1) * INTERVAL_MS[interval]
        rows.append(
            (
                np.repeat(as_of, len(horizons)),
                np.tile(horizons, len(own)),
                np.repeat(result.last_close[start:stop], len(horizons)),
                result.predicted_close[start:stop].ravel(),
                result.lower[start:stop].ravel(),
                result.upper[start:stop].ravel(),
                session.coverage,
                model.artifact.version,
                predicted_at,
            )
        )
    return rows
