"""The LSTM inside Spark: a pandas UDF that predicts every window of a micro-batch."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import Column
from pyspark.sql.functions import pandas_udf
from pyspark.sql.types import BinaryType, LongType, StructType

from conf.errors import ArtifactMismatch
from conf.events import event
from conf.timeframes import TIMEFRAME_MS
from model.features import Floats
from model.forecast import Forecast, Forecaster
from model.layout import Layout
from model.served import Models, ServedModel
from store.schema import DISTRIBUTION, PREDICTIONS
from stream.packed import constant, from_bytes, repeated, to_bytes, width_of

log = logging.getLogger(__name__)

# `predicted` and `abstained` are tables as bytes, with their numbers of rows.
FORECAST: Final = (
    StructType()
    .add("rows", LongType())
    .add("predicted", BinaryType())
    .add("abstained_rows", LongType())
    .add("abstained", BinaryType())
)
NOT_FINITE: Final = "prediction not finite"

# A worker lives for many micro-batches; a session is built once a version, and an old one is let
# go when its successor arrives, so that a year of retraining does not fill the memory.
_forecasters: dict[tuple[str, bool, bool], tuple[ServedModel, Forecaster]] = {}


def forecaster(timeframe: str, model: ServedModel) -> Forecaster:
    """This process's session for `model`, built when the version is new here."""
    kind = timeframe, model.reads_news, model.reads_leaders
    held = _forecasters.get(kind)
    if held is None or held[0] != model:
        held = (model, Forecaster(model.artifact, interval_factor=model.interval_factors))
        _forecasters[kind] = held
    return held[1]


def forecast_udf(models: Models, query_id: str, batch_id: int) -> Callable[..., Column]:
    """The UDF for one micro-batch, bound to the champion of each timeframe.

    Its arguments, a row for all series of a shard: timeframe, the windows (a table as bytes:
    symbol, as_of in epoch ms, end) and their bars (float64 bytes of (n_bars, n_columns) as
    `model.layout` has them, `width_of` the windows says how many; `end` is the row of a window's
    last bar). Its result: `FORECAST`; null for a timeframe without a model.
    """

    def forecast(timeframe: pd.Series, windows: pd.Series, bars: pd.Series) -> pd.DataFrame:
        rows: list[tuple[object, ...]] = [
            forecast_windows(name, models[name], from_bytes(packed), raw, (query_id, batch_id))
            if name in models
            else (None,) * 4
            for name, packed, raw in zip(timeframe, windows, bars, strict=True)
        ]
        return pd.DataFrame(rows, columns=FORECAST.names).astype(
            {"rows": "Int64", "abstained_rows": "Int64"}
        )

    wrapped: Callable[..., Column] = pandas_udf(forecast, returnType=FORECAST)  # type: ignore
    return wrapped


def forecast_windows(
    timeframe: str,
    champion: ServedModel,
    windows: pa.Table,
    raw_bars: bytes,
    micro_batch: tuple[str, int],
) -> tuple[object, ...]:
    """One row of `FORECAST`: all windows predicted in one pass.

    By the champion; where that needs news or leaders and these windows have none, by a substitute.

    micro_batch: query id and batch id, written here: as a literal in Spark's plan the number would
    be in the code that Spark generates, and compiles anew in every micro-batch.

    The series lie end to end; no window crosses from one to the next, since each window is complete
    within its own.
    """
    bars = np.frombuffer(raw_bars, np.float64).reshape(-1, width_of(windows))
    layout = Layout.of(bars)
    model = champion.serving(layout.news, layout.leaders > 0)
    if model is None:
        return (None,) * 4
    session = forecaster(timeframe, model)
    numbers = _numbers(session, bars, windows)
    # Absurd but finite prices, as a faulty source may send, can lead out of the finite numbers.
    needed = [at for name, at in numbers.items() if name not in PREDICTIONS.optional]
    finite = np.logical_and.reduce([np.isfinite(at).all(axis=1) for at in needed])
    made = windows.filter(pa.array(finite))
    finite_numbers = {name: at[finite] for name, at in numbers.items()}
    predicted = prediction_table(
        timeframe, session, made, finite_numbers, micro_batch, model.proven
    )
    left = windows.filter(pa.array(~finite))
    abstained = pa.table(
        {
            "symbol": left["symbol"],
            "interval": constant(timeframe, len(left)),
            "as_of": left["as_of"],
            "reason": constant(NOT_FINITE, len(left)),
        }
    )
    return len(predicted), to_bytes(predicted), len(left), to_bytes(abstained)


def _numbers(session: Forecaster, bars: Floats, windows: pa.Table) -> dict[str, Floats]:
    """Each (n_windows, n_horizons). NaN where the graph fails on these windows, though it did well
    on ordinary ones when it was loaded: they abstain, and the query goes on."""
    try:
        result = session.predict(bars, windows["end"].to_numpy(), windows["symbol"].to_pylist())
    except ArtifactMismatch as error:
        event(log, "model_failed", level=logging.ERROR, windows=len(windows), reason=error)
        nothing = np.full((len(windows), len(session.horizons)), np.nan)
        return dict.fromkeys(PREDICTIONS.prices, nothing)
    return columns_of(result)


def columns_of(result: Forecast) -> dict[str, Floats]:
    """The columns of a forecast in its table, each (n_windows, n_horizons)."""
    return {
        "last_close": np.broadcast_to(result.last_close[:, None], result.predicted_close.shape),
        "predicted_close": result.predicted_close,
        "lower": result.lower,
        "upper": result.upper,
        "scale": result.scale,
        **result.quantiles,
    }


def prediction_table(
    timeframe: str,
    session: Forecaster,
    windows: pa.Table,
    numbers: Mapping[str, Any],
    micro_batch: tuple[str, int],
    proven: str | None,
) -> pa.Table:
    """Packed predictions for `windows` and their numbers, each (n_windows, n_horizons); those that
    are optional may be NaN or left out, which makes them null."""
    horizons = np.asarray(session.horizons, np.int32)
    count = len(windows) * len(horizons)
    each = np.repeat(np.arange(len(windows), dtype=np.int32), len(horizons))
    which = np.tile(np.arange(len(horizons), dtype=np.int8), len(windows))
    symbols = windows["symbol"].combine_chunks().dictionary_encode()
    as_of = windows["as_of"].to_numpy()
    lengths = horizons * np.int64(TIMEFRAME_MS[timeframe])
    missing = np.full(count, np.nan)
    distribution = {
        name: pa.array(numbers[name].ravel() if name in numbers else missing, from_pandas=True)
        for name in DISTRIBUTION
    }
    return pa.table(
        {
            "symbol": repeated(symbols.dictionary, symbols.indices.to_numpy()[each]),
            "interval": constant(timeframe, count),
            "as_of": repeated(windows["as_of"], each),
            "horizon": repeated(pa.array(horizons), which),
            "target_time": pa.array((as_of[:, None] + lengths).ravel()),
            **{name: pa.array(numbers[name].ravel()) for name in PREDICTIONS.prices},
            "coverage": constant(session.coverage, count),
            **distribution,
            "proven": constant(proven, count),
            "model_version": constant(session.version, count),
            "query_id": constant(micro_batch[0], count),
            "batch_id": constant(micro_batch[1], count),
            "predicted_at": constant(time.time_ns() // 1_000_000, count),
        }
    )
