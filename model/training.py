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

from conf.errors import ConfigurationError, NotEnoughBars
from model.artifact import Artifact, Manifest
from model.dataset import Span, Windows, embargo_bars, joined, sequences_of, windows_of
from model.features import MIN_LOOKBACK, feature_names, sequence_steps
from model.forecast import run_graph
from model.intervals import conformal_half_width
from model.linear import fit_linear, flat_features, out_of_fold_outputs
from model.lstm import EpochDone, FitSettings, History, Shape, fit_members, save_keras
from model.onnx_export import export_onnx
from model.series import Series
from model.weights import NetworkWeights

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]
# Few windows decide the gain: one jump of the price shall not.
GAIN_TARGET_LIMIT: Final = 3.0
MAX_GAIN: Final = 1.5
# Trained on so many windows, the LSTMs have half of the share that they have in the end.
HALF_SHARE_WINDOWS: Final = 2000
# Where targets overlap, the few independent ones estimate even their own noise badly: a forecast
# has to stand out by twice its standard error before any of it is used.
OVERLAP_CAUTION: Final = 4.0


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
        train.features.shape[2],
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
        feature_names=feature_names(series[0].bars),
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
            raise NotEnoughBars(
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
    """Mix the paths, shrink the mixture, and give the linear path the newest bars too.

    The validation part alone is too short to tell a small skill from none. The linear path, fitted
    without a stretch of the training part, says on that stretch how much of such forecasts comes
    true. Returns the network, and its outputs (n_windows, n_horizons) on the validation part before
    the linear path has seen it.
    """
    embargo_ms = embargo_bars(settings.lookback, settings.horizons) * bar_ms
    earlier = out_of_fold_outputs(train, window_weights(train.scale), embargo_ms)
    network, linear = _paths(weights, validation)
    gains = []
    for index, overlap in enumerate(settings.horizons):
        came = validation.targets[:, index]
        share = fit_share(network[:, index], linear[:, index], came, overlap, len(train))
        mixed = share * network[:, index] + (1 - share) * linear[:, index]
        forecasts = np.concatenate([earlier[:, index], mixed])
        gain = fit_gain(forecasts, np.concatenate([train.targets[:, index], came]), overlap)
        gains.append((gain * share, gain * (1 - share)))
    both = joined(train, validation)
    network_gain, linear_gain = np.array(gains).T
    fitted = NetworkWeights(
        weights.members,
        fit_linear(both, window_weights(both.scale)),
        network_gain.astype(np.float32),
        linear_gain.astype(np.float32),
    )
    return fitted, network * network_gain + linear * linear_gain


def _paths(weights: NetworkWeights, windows: Windows) -> tuple[Floats, Floats]:
    """What the LSTMs and what the linear path say, each (n_windows, n_horizons)."""
    ones, zeros = np.ones_like(weights.network_gain), np.zeros_like(weights.network_gain)
    steps = windows.features.shape[1]
    network = run_graph(export_onnx(weights.with_gains(ones, zeros), steps), windows.features)
    return network, (flat_features(windows.features) @ weights.linear_kernel).astype(float)


def fit_share(
    network: Floats, linear: Floats, targets: Floats, overlap: int, n_trained: int
) -> float:
    """The share of the LSTMs in the mixture, unless the windows clearly say otherwise a prior one.

    The prior grows with the windows trained on towards a half: an LSTM needs thousands, a line with
    five coefficients does not. The least-squares share is drawn to it by its own noise as in
    `fit_gain`, within 0..1.

    >>> noise = np.random.default_rng(1).normal(size=(2, 1000))
    >>> round(fit_share(noise[0], noise[1], noise[0], 1, 10_000), 1)
    1.0
    >>> round(fit_share(noise[0], noise[1], noise.sum(axis=0) / 2, 1, 10**6), 1)
    0.5
    """
    clipped = np.clip(targets, -GAIN_TARGET_LIMIT, GAIN_TARGET_LIMIT)
    prior = 0.5 * n_trained / (n_trained + HALF_SHARE_WINDOWS)
    beyond = network - linear
    from_prior, variance = _least_squares(beyond, clipped - linear - prior * beyond, overlap)
    return min(1.0, max(0.0, prior + _shrunk(from_prior, variance)))


def fit_gain(forecast: Floats, targets: Floats, overlap: int) -> float:
    """How much of a forecast to believe: least squares, shrunk by its own noise, never negative.

    A gain `g` with standard error `s` becomes `g * (1 - s^2 / g^2)`, or 0 where that is negative
    (positive-part James-Stein): a forecast that can't be told from chance is not made. `overlap` is
    how many windows share a bar of their targets: so many fewer are independent. Fitting to clipped
    targets makes forecasts too small rather than too large, so that a gain may exceed 1.

    >>> fit_gain(np.array([1.0, -1.0, 2.0]), np.array([0.5, -0.5, 1.0]), overlap=1)
    0.5
    """
    clipped = np.clip(targets, -GAIN_TARGET_LIMIT, GAIN_TARGET_LIMIT)
    gain, variance = _least_squares(forecast, clipped, overlap)
    return min(MAX_GAIN, max(0.0, _shrunk(gain, variance)))


def _least_squares(inputs: Floats, targets: Floats, overlap: int) -> tuple[float, float]:
    """The factor on `inputs` that comes closest to `targets`, and its variance."""
    power = float(np.sum(inputs**2))
    if power <= 0:
        return 0.0, 0.0
    factor = float(np.sum(inputs * targets)) / power
    left = targets - factor * inputs
    independent = 1.0 if overlap == 1 else OVERLAP_CAUTION * overlap
    return factor, independent * float(np.sum((inputs * left) ** 2)) / power**2


def _shrunk(value: float, variance: float) -> float:
    return 0.0 if value == 0 else value * max(0.0, 1 - variance / value**2)
