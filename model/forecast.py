"""Serve an artifact: bars in, prices with intervals out. No TensorFlow, no Spark, no registry."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from conf.errors import ArtifactMismatch
from model.artifact import Artifact, check_features
from model.features import (
    Indices,
    bar_features,
    batches,
    horizon_scale,
    input_named,
    window_inputs,
)
from model.layout import CLOSE, Layout

Floats = NDArray[np.float64]
# No return of more than this many volatilities is ever forecast: an odd window should not move the
# prediction further than the market moves.
_OUTPUT_LIMIT: Final = 2.0


@dataclass(frozen=True)
class Forecast:
    """Prices forecast for some windows.

    `last_close` (n_windows,); `predicted_close`, `lower`, `upper` (n_windows, n_horizons). `scale`
    (n_windows, n_horizons) is the size expected of the log return, `unit_return` of the same shape
    the forecast return in it.
    """

    last_close: Floats
    predicted_close: Floats
    lower: Floats
    upper: Floats
    scale: Floats
    unit_return: Floats


class Forecaster:
    """An artifact in memory, with its own one-threaded ONNX Runtime session.

    `interval_factor` (n_horizons,) widens the conformal intervals of each horizon, 1.0 by default:
    live coverage says by how much.
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
        factor = (1.0,) * len(self.horizons) if interval_factor is None else interval_factor
        if len(factor) != len(self.horizons) or len(manifest.half_widths) != len(self.horizons):
            raise ArtifactMismatch(
                f"{artifact.version}: {len(self.horizons)} horizons, "
                f"{len(manifest.half_widths)} half-widths, {len(factor)} interval factors"
            )
        self._symbol_gain = manifest.symbol_gain
        self._half_width = np.array(manifest.half_widths) * np.array(factor)
        try:
            self._session = _session(artifact.onnx)
            takes = self._session.get_inputs()[0].shape[-1]
            gives = self._session.get_outputs()[0].shape[-1]
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
        prices = forecast.predicted_close, forecast.lower, forecast.upper
        if not all((np.isfinite(price) & (price > 0)).all() for price in prices):
            raise ArtifactMismatch(
                f"{self.version}: forecasts no price from an ordinary window: {prices}"
            )

    def _run(self, windows: Iterable[NDArray[np.float32]], n_windows: int) -> Floats:
        try:
            unit = _infer(self._session, windows)
        except Exception as error:
            raise ArtifactMismatch(f"{self.version}: model.onnx cannot be run: {error}") from error
        if unit.shape != (n_windows, len(self.horizons)):
            raise ArtifactMismatch(
                f"{self.version}: model.onnx makes {unit.shape} of {n_windows} windows and "
                f"{len(self.horizons)} horizons"
            )
        return unit

    def _gains(self, symbols: Sequence[str] | None) -> Floats:
        """How much of the graph's output counts, (n_windows, n_horizons) or (1, n_horizons)."""
        ones = (1.0,) * len(self.horizons)
        if symbols is None or not self._symbol_gain:
            return np.array([ones])
        names, place = np.unique(symbols, return_inverse=True)
        return np.array([self._symbol_gain.get(str(name), ones) for name in names])[place]

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
        windows = (window_inputs(features, some, self.lookback) for some in batches(ends))
        unit = self._run(windows, len(ends)) * self._gains(symbols)
        unit = np.clip(unit, -_OUTPUT_LIMIT, _OUTPUT_LIMIT)
        sizes = horizon_scale(volatility[ends], self.horizons)
        last_close = bars[ends, CLOSE]
        margin = self._half_width * sizes
        log_return = unit * sizes
        return Forecast(
            last_close=last_close,
            predicted_close=last_close[:, None] * np.exp(log_return),
            lower=last_close[:, None] * np.exp(log_return - margin),
            upper=last_close[:, None] * np.exp(log_return + margin),
            scale=sizes,
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
    return _infer(_session(onnx), features)


def _infer(session: onnxruntime.InferenceSession, batches: Iterable[NDArray[np.float32]]) -> Floats:
    outputs = [session.run(None, {"features": batch})[0] for batch in batches]
    if not outputs:
        return np.empty((0, session.get_outputs()[0].shape[1]))
    return np.concatenate(outputs).astype(float)


def _session(onnx: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
