"""Serve an artifact: bars in, prices with intervals out. No TensorFlow, no Spark, no registry."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from conf.errors import ArtifactMismatch
from model.artifact import Artifact, check_features
from model.distribution import symmetric
from model.features import (
    Indices,
    bar_features,
    batches,
    horizon_scale,
    input_named,
    window_inputs,
)
from model.intervals import named
from model.layout import CLOSE, Layout
from model.size import NORMAL_SIZE, size_inputs

Floats = NDArray[np.float64]
# What a graph takes, by name.
Feed = dict[str, NDArray[np.float32]]
# No return of more than this many volatilities is ever forecast: an odd window should not move the
# prediction further than the market moves.
_OUTPUT_LIMIT: Final = 2.0
_OfSymbol = TypeVar("_OfSymbol", float, tuple[float, ...])


@dataclass(frozen=True)
class Forecast:
    """Prices forecast for some windows.

    `last_close` (n_windows,); all others (n_windows, n_horizons): prices, and `scale`, the mean
    size expected of the log return. `quantiles` are prices by the names of QUANTILES, NaN where the
    model is not calibrated for one; `trailing` is the volatility before the window times the root
    of the horizon, `unit_return` the forecast return in it.
    """

    last_close: Floats
    predicted_close: Floats
    lower: Floats
    upper: Floats
    scale: Floats
    quantiles: Mapping[str, Floats]
    trailing: Floats
    unit_return: Floats


class Forecaster:
    """An artifact in memory, with its own one-threaded ONNX Runtime session.

    `interval_factor` widens each conformal interval, those of the first horizon first, 1.0 by
    default: live coverage says by how much.
    """

    def __init__(
        self, artifact: Artifact, interval_factor: tuple[float, ...] | None = None
    ) -> None:
        """Raises ArtifactMismatch where the model does not fit this code or its own manifest."""
        check_features(artifact.manifest, artifact.version)
        manifest = artifact.manifest
        self.version = artifact.version
        self.interval = manifest.interval
        self.lookback = manifest.lookback
        self.horizons = manifest.horizons
        self.coverage = manifest.coverage
        self.reads_news = manifest.reads_news
        self._feature_names = manifest.feature_names
        self._n_leaders = max(input_named(name).leader for name in manifest.feature_names)
        self.calibrated = manifest.calibrated
        factor = (1.0,) * manifest.n_intervals if interval_factor is None else interval_factor
        if len(factor) != manifest.n_intervals or len(manifest.half_widths) != len(factor):
            raise ArtifactMismatch(
                f"{artifact.version}: {len(self.horizons)} horizons of {len(self.calibrated)} "
                f"intervals, {len(manifest.half_widths)} half-widths, {len(factor)} factors"
            )
        self._symbol_gain = manifest.symbol_gain
        self._usual = manifest.usual_volatility
        widths = np.array(manifest.half_widths) * np.array(factor)
        # Each interval has a factor of its own, and holds the narrower ones all the same.
        self._widths = np.maximum.accumulate(widths.reshape(len(self.horizons), -1), axis=1)
        try:
            self._session = _session(artifact.onnx)
            takes = self._session.get_inputs()[0].shape[-1]
            gives = self._session.get_outputs()[0].shape[-1]
            self._has_size = len(self._session.get_outputs()) > 1
        except Exception as error:
            raise ArtifactMismatch(
                f"{artifact.version}: model.onnx cannot be loaded: {error}"
            ) from error
        self._check_shape(len(manifest.feature_names), takes, gives)
        self._check_forecast()

    def _check_shape(self, n_features: int, takes: object, gives: object) -> None:
        if (takes, gives) != (n_features, len(self.horizons)):
            raise ArtifactMismatch(
                f"{self.version}: model.onnx takes {takes} features and forecasts {gives} "
                f"horizons, the manifest names {n_features} and {len(self.horizons)}"
            )

    def _check_forecast(self) -> None:
        """Forecast from two ordinary windows: a graph may load, and not run or not fit."""
        bars = _ordinary_bars(self.lookback + 2, self._n_leaders)
        forecast = self.predict(bars, np.array([self.lookback, self.lookback + 1]))
        prices = forecast.predicted_close, forecast.lower, forecast.upper, forecast.scale
        if not all((np.isfinite(price) & (price > 0)).all() for price in prices):
            raise ArtifactMismatch(
                f"{self.version}: forecasts no price from an ordinary window: {prices}"
            )

    def _run(
        self,
        features: NDArray[np.float32],
        bars: Floats,
        ends: Indices,
        symbols: Sequence[str] | None,
    ) -> Floats:
        """(2, n_windows, n_horizons): the forecast returns in volatilities, and the logarithm of
        the size expected of the move in them."""
        shape = len(ends), len(self.horizons)
        feeds = ({"features": window_inputs(features, e, self.lookback)} for e in batches(ends))
        if self._has_size:
            usual = self._of_symbols(self._usual, math.nan, symbols)
            sizes = batches(size_inputs(bars, self.lookback, ends, usual))
            feeds = ({**feed, "sizes": some} for feed, some in zip(feeds, sizes, strict=True))
        try:
            found = _infer(self._session, feeds)
        except Exception as error:
            raise ArtifactMismatch(f"{self.version}: model.onnx cannot be run: {error}") from error
        if not self._has_size:
            found = [*found, np.full(shape, math.log(NORMAL_SIZE))]
        if [one.shape for one in found] != [shape, shape]:
            raise ArtifactMismatch(
                f"{self.version}: model.onnx makes {[one.shape for one in found]} of {shape[0]} "
                f"windows and {shape[1]} horizons"
            )
        return np.stack(found)

    def _of_symbols(
        self, known: Mapping[str, _OfSymbol], other: _OfSymbol, symbols: Sequence[str] | None
    ) -> Floats:
        """What is known of the symbol of each window, `other` where nothing is: (n_windows, ...),
        or (1, ...) where all are alike."""
        if not symbols or not known:
            return np.array([other])
        names, place = np.unique(symbols, return_inverse=True)
        return np.array([known.get(str(name), other) for name in names])[place]

    def predict(
        self, bars: Floats, ends: Indices, symbols: Sequence[str] | None = None
    ) -> Forecast:
        """Forecast from the windows that end at `ends`, each of which must be complete.

        `bars` (n_bars, n_columns) as in `bar_features`, `ends` (n_windows,) rows of them; columns
        of news and leaders are left aside by a model that does not read them. Bars of several
        symbols may lie behind one another: one call for a thousand symbols costs little more than
        for one. `symbols` (n_windows,) says whose each window is. Raises ArtifactMismatch where the
        model reads news or leaders and the bars have none, or its graph fails.
        """
        layout = Layout.of(bars)
        if self.reads_news and not layout.news:
            raise ArtifactMismatch(f"{self.version} reads news, and these bars come without")
        if self._n_leaders > layout.leaders:
            raise ArtifactMismatch(
                f"{self.version} reads {self._n_leaders} leaders, these bars come with "
                f"{layout.leaders}"
            )
        ends = np.asarray(ends)
        features, volatility = bar_features(bars, self.lookback, self._feature_names)
        unit, log_size = self._run(features, bars, ends, symbols)
        gains = self._of_symbols(self._symbol_gain, (1.0,) * len(self.horizons), symbols)
        unit = np.clip(unit * gains, -_OUTPUT_LIMIT, _OUTPUT_LIMIT)
        trailing = horizon_scale(volatility[ends], self.horizons)
        scale = trailing * np.exp(log_size)
        # The intervals of a model without a scale are in units of the volatility itself.
        margins = self._widths * (scale if self._has_size else trailing)[:, :, None]
        last_close = bars[ends, CLOSE]
        prices = last_close[:, None, None] * np.exp(symmetric(unit * trailing, margins))
        middle, beside = len(self.calibrated), 1 + self.calibrated.index(self.coverage)
        return Forecast(
            last_close=last_close,
            predicted_close=prices[..., middle],
            lower=prices[..., middle - beside],
            upper=prices[..., middle + beside],
            scale=scale,
            quantiles=named(prices, self.calibrated),
            trailing=trailing,
            unit_return=unit,
        )


def _ordinary_bars(count: int, n_leaders: int) -> Floats:
    """Bars of a market that moves a little, with a piece of news in each, and its leaders."""
    close = 100 * np.exp(0.001 * np.sin(np.arange(count)))
    opened = np.roll(close, 1)
    high, low = np.maximum(opened, close) * 1.0005, np.minimum(opened, close) * 0.9995
    volume = 2 + np.cos(np.arange(count))
    news = np.broadcast_to([1.0, 0.1, 0.1, 1.0, 0.0], (count, 5)).T
    own = [opened, high, low, close, volume, volume * close]
    return np.stack([*own, *news, *own * n_leaders], axis=1)


def run_graph(onnx: bytes, features: Iterable[NDArray[np.float32]]) -> Floats:
    """The output (n_windows, n_horizons) of a graph that is no artifact yet; `features` come in
    batches (n, steps, n_features)."""
    return _infer(_session(onnx), ({"features": batch} for batch in features))[0]


def _infer(session: onnxruntime.InferenceSession, feeds: Iterable[Feed]) -> list[Floats]:
    """Each output (n_windows, n) of the graph over all batches."""
    outputs = [session.run(None, feed) for feed in feeds]
    if not outputs:
        return [np.empty((0, one.shape[1])) for one in session.get_outputs()]
    return [np.concatenate(of).astype(float) for of in zip(*outputs, strict=True)]


def _session(onnx: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
