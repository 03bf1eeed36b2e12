"""Fit a model to bars: the linear path, the LSTMs, how much both are trusted, the intervals.

```
 |------------- train -------------|- embargo -|--- validation ---|
   linear path, LSTM weights                     when to stop, gain, interval half-widths
```
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from conf.errors import ConfigurationError
from model.artifact import Artifact, Manifest
from model.dataset import Span, Windows, embargo_bars, joined, sequences_of, windows_of
from model.features import FEATURE_NAMES, MIN_LOOKBACK, sequence_steps
from model.forecast import run_graph
from model.intervals import conformal_half_width
from model.linear import fit_linear, out_of_fold_outputs
from model.lstm import EpochDone, FitSettings, History, Shape, fit_members, save_keras
from model.onnx_export import export_onnx
from model.series import Series
from model.weights import NetworkWeights

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]
# Few windows decide the gain: one jump of the price shall not.
GAIN_TARGET_LIMIT: Final = 3.0


@dataclass(frozen=True)
class ModelSettings:
    """What kind of model to fit, and how."""

    lookback: int
    horizons: tuple[int, ...]
    units: int
    members: int
    validation_share: float
    coverage: float
    fit: FitSettings


@dataclass(frozen=True)
class TrainedModel:
    """A fitted network with everything that its artifact says about it."""

    weights: NetworkWeights
    shape: Shape
    manifest: Manifest
    onnx: bytes
    history: History

    def artifact(self, version: str) -> Artifact:
        """The model as it would be loaded, without a folder."""
        return Artifact(version, self.manifest, self.onnx)

    def keras(self) -> bytes:
        """The bytes of `model.keras`."""
        return save_keras(self.weights, self.shape)


def fit_model(
    series: Sequence[Series],
    part: Span,
    settings: ModelSettings,
    start: NetworkWeights | None = None,
    on_epoch: EpochDone | None = None,
) -> TrainedModel:
    """Fit to the bars of `part`; its last `validation_share` decides when to stop and how much.

    `start` continues from the members of another model of the same shape. Raises
    ConfigurationError where there are too few complete windows to learn from.
    """
    train_part, validation_part = split_part(series, part, settings)
    train = windows_of(series, train_part, settings.lookback, settings.horizons)
    validation = windows_of(series, validation_part, settings.lookback, settings.horizons)
    _require_windows(train, validation, settings)
    kernel = fit_linear(train, window_weights(train.scale))
    shape = Shape(
        sequence_steps(settings.lookback),
        len(FEATURE_NAMES),
        len(settings.horizons),
        settings.units,
        settings.members,
    )
    members, history = fit_members(
        shape,
        sequences_of(series, train_part, settings.lookback, settings.horizons),
        sequences_of(series, validation_part, settings.lookback, settings.horizons),
        settings.fit,
        start=None if start is None else start.members,
        on_epoch=on_epoch,
    )
    half = np.full(len(settings.horizons), 0.5, np.float32)
    weights, outputs = _with_fitted_gain(
        NetworkWeights(members, kernel, half, half),
        settings,
        train,
        validation,
        series[0].interval_ms,
    )
    half_widths = conformal_half_width(np.abs(validation.targets - outputs), settings.coverage)
    manifest = Manifest(
        interval=series[0].interval,
        symbols=tuple(s.symbol for s in series),
        feature_names=FEATURE_NAMES,
        lookback=settings.lookback,
        horizons=settings.horizons,
        trained_from=train_part.start,
        validated_from=validation_part.start,
        trained_until=part.end,
        coverage=settings.coverage,
        half_widths=tuple(half_widths.tolist()),
        network_gain=tuple(weights.network_gain.tolist()),
        linear_gain=tuple(weights.linear_gain.tolist()),
        seed=settings.fit.seed,
    )
    return TrainedModel(weights, shape, manifest, export_onnx(weights, shape.steps), history)


def split_part(series: Sequence[Series], part: Span, settings: ModelSettings) -> tuple[Span, Span]:
    """Training and validation part of `part`, with the embargo between them."""
    start = max(part.start, min(s.first_open_time for s in series))
    end = min(part.end, max(s.end_time for s in series))
    border = end - int((end - start) * settings.validation_share)
    embargo = embargo_bars(settings.lookback, settings.horizons) * series[0].interval_ms
    return Span(start, border - embargo), Span(border, end)


def window_weights(scale: Floats) -> Floats:
    """How much each window counts in the linear fit, from the volatility there.

    The error that matters is that of the return, so that volatile windows count more; fully, by
    the square, a handful of them would decide alone.
    """
    weights: Floats = np.sqrt(scale / np.median(scale))
    return weights


def _require_windows(train: Windows, validation: Windows, settings: ModelSettings) -> None:
    if settings.lookback < MIN_LOOKBACK:
        raise ConfigurationError(f"window.lookback must be at least {MIN_LOOKBACK} bars")
    for name, windows, needed in (("training", train, 100), ("validation", validation, 20)):
        if len(windows) < needed:
            raise ConfigurationError(
                f"{len(windows)} complete windows in the {name} part, {needed} are needed: "
                f"collect more bars, or fill gaps, before training"
            )


def _with_fitted_gain(
    weights: NetworkWeights,
    settings: ModelSettings,
    train: Windows,
    validation: Windows,
    bar_ms: int,
) -> tuple[NetworkWeights, Floats]:
    """Shrink both paths by one gain, and give the linear path the newest bars too.

    The validation part alone is too short to tell a small skill from none. The linear path, fitted
    without a stretch of the training part, says on that stretch how much of such forecasts comes
    true. Returns the network, and its outputs (n_windows, n_horizons) on the validation part before
    the linear path has seen it.
    """
    steps = sequence_steps(settings.lookback)
    mean = run_graph(export_onnx(weights, steps), validation.features)
    embargo_ms = embargo_bars(settings.lookback, settings.horizons) * bar_ms
    earlier = out_of_fold_outputs(train, window_weights(train.scale), embargo_ms)
    forecasts = np.concatenate([earlier, mean])
    targets = np.concatenate([train.targets, validation.targets])
    gain = np.array(
        [
            fit_gain(forecasts[:, index], targets[:, index], overlap=horizon)
            for index, horizon in enumerate(settings.horizons)
        ]
    )
    shrunk = gain.astype(np.float32)
    both = joined(train, validation)
    fitted = NetworkWeights(
        weights.members,
        fit_linear(both, window_weights(both.scale)),
        weights.network_gain * shrunk,
        weights.linear_gain * shrunk,
    )
    return fitted, mean * gain


def fit_gain(forecast: Floats, targets: Floats, overlap: int) -> float:
    """How much of a forecast to believe: least squares, shrunk by its own noise, within 0..1.

    A gain `g` with standard error `s` becomes `g * (1 - s^2 / g^2)`, or 0 where that is negative
    (positive-part James-Stein): a forecast that can't be told from chance is not made. `overlap` is
    how many windows share a bar of their targets: so many fewer are independent.

    >>> fit_gain(np.array([1.0, -1.0, 2.0]), np.array([0.5, -0.5, 1.0]), overlap=1)
    0.5
    """
    clipped = np.clip(targets, -GAIN_TARGET_LIMIT, GAIN_TARGET_LIMIT)
    power = float(np.sum(forecast**2))
    if power <= 0:
        return 0.0
    gain = float(np.sum(forecast * clipped)) / power
    if gain <= 0:
        return 0.0
    variance = overlap * float(np.sum((forecast * (clipped - gain * forecast)) ** 2)) / power**2
    return min(1.0, gain * max(0.0, 1 - variance / gain**2))
