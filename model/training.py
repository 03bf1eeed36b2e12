"""Fit a model to bars: the linear path, the LSTMs on what it leaves, their gains, the intervals.

```
 |------------- train -------------|- embargo -|--- validation ---|
   linear path, LSTM weights                     when to stop, gains, interval half-widths
```
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from conf.errors import ConfigurationError
from model.artifact import Artifact, Manifest
from model.dataset import Sequences, Span, Windows, embargo_bars, sequences_of, windows_of
from model.features import FEATURE_NAMES, MIN_LOOKBACK, sequence_steps
from model.forecast import run_graph
from model.intervals import conformal_half_width
from model.linear import fit_linear, flat_features, linear_outputs
from model.lstm import EpochDone, FitSettings, History, Shape, fit_members, save_keras
from model.onnx_export import export_onnx
from model.series import Series
from model.weights import NetworkWeights

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Array = NDArray[np.float32]


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
        _left_over(sequences_of(series, train_part, settings.lookback, settings.horizons), kernel),
        _left_over(
            sequences_of(series, validation_part, settings.lookback, settings.horizons), kernel
        ),
        settings.fit,
        start=None if start is None else start.members,
        on_epoch=on_epoch,
    )
    ones = np.ones(len(settings.horizons), np.float32)
    weights, outputs = _with_fitted_gains(
        NetworkWeights(members, kernel, ones, ones), shape, validation, settings.horizons
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
    """How much each window counts in a fit, from the volatility there, with mean about one.

    The error that matters is that of the return, so that volatile windows count more; fully, by
    the square, a handful of them would decide alone.
    """
    return scale / float(np.median(scale))


def _require_windows(train: Windows, validation: Windows, settings: ModelSettings) -> None:
    if settings.lookback < MIN_LOOKBACK:
        raise ConfigurationError(f"window.lookback must be at least {MIN_LOOKBACK} bars")
    for name, windows, needed in (("training", train, 100), ("validation", validation, 20)):
        if len(windows) < needed:
            raise ConfigurationError(
                f"{len(windows)} complete windows in the {name} part, {needed} are needed: "
                f"collect more bars, or fill gaps, before training"
            )


def _left_over(sequences: Sequences, kernel: Array) -> Sequences:
    """The same sequences with what the linear path does not explain as targets."""
    return replace(sequences, targets=sequences.targets - linear_outputs(sequences, kernel))


def _with_fitted_gains(
    weights: NetworkWeights, shape: Shape, validation: Windows, horizons: tuple[int, ...]
) -> tuple[NetworkWeights, Floats]:
    """Set the gains that do best on the validation part, shrunk by their own uncertainty.

    Returns the network with them, and its outputs (n_windows, n_horizons) there.
    """
    n_horizons = shape.n_horizons
    linear = (flat_features(validation.features) @ weights.linear_kernel).astype(float)
    zeros, ones = np.zeros(n_horizons, np.float32), np.ones(n_horizons, np.float32)
    network = run_graph(
        export_onnx(weights.with_gains(ones, zeros), shape.steps), validation.features
    )
    counts = window_weights(validation.scale)
    gains = np.array(
        [
            fit_gains(
                np.stack([network[:, h], linear[:, h]], 1), validation.targets[:, h], counts, bars
            )
            for h, bars in enumerate(horizons)
        ]
    )
    fitted = weights.with_gains(gains[:, 0].astype(np.float32), gains[:, 1].astype(np.float32))
    return fitted, network * gains[:, 0] + linear * gains[:, 1]


def fit_gains(paths: Floats, targets: Floats, weights: Floats, overlap: int) -> Floats:
    """How much of each path to use: least squares, each shrunk by its own noise, within 0..1.

    `paths` (n_windows, n_paths). A gain `g` with standard error `s` becomes `g * (1 - s^2 / g^2)`,
    or 0 where that is negative (positive-part James-Stein): a path whose use can't be told from
    chance is left out. `overlap` is how many windows share a bar of their targets: so many fewer
    are independent.
    """
    gains = np.zeros(paths.shape[1])
    left = np.clip(targets, -6, 6)
    for index in reversed(range(paths.shape[1])):
        path = paths[:, index]
        power = float(np.sum(weights * path**2))
        if power <= 0:
            continue
        gain = float(np.sum(weights * path * left)) / power
        error = overlap * float(np.sum((weights * path * (left - gain * path)) ** 2)) / power**2
        if gain > 0:
            gains[index] = min(1.0, gain * max(0.0, 1 - error / gain**2))
        left = left - gains[index] * path
    return gains
