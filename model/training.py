"""Fit a model to bars: the linear path, the LSTMs, how much both are trusted, the intervals.

Each path is fitted without a stretch of the bars in turn and forecasts that stretch, so that every
bar is learned from and every bar says how good a forecast is. Four members:

```
 LSTM 1      |  held out  |e|----------- train ------------|     e: embargo of lookback + horizon
 LSTM 2      |--- train ---|e|  held out  |e|--- train ----|     held out: when to stop, gain;
 LSTM 3      |-------- train --------|e|  held out  |e|----|     its newest part: interval widths
 LSTM 4      |---------- train -----------|e|   held out   |
```
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from conf.errors import ConfigurationError, NotEnoughBars
from conf.sections import Intervals, Training
from model.artifact import Artifact, Manifest
from model.dataset import (
    Span,
    Windows,
    apart,
    covered,
    embargo_bars,
    inside,
    newest_share,
    sequences_of,
    stretches,
    windows_of,
)
from model.early import LINEAR_EARLY, LSTM_EARLY, first_horizon
from model.features import MIN_LOOKBACK, sequence_steps
from model.forecast import run_graph
from model.gains import fit_gain, fit_share, symbol_gains
from model.intervals import SMALLEST_HALF_WIDTH, conformal_half_width, coverages
from model.linear import fit_linear, out_of_fold_outputs
from model.lstm import EpochDone, History, fit_members, save_keras
from model.onnx_export import export_onnx
from model.series import Series
from model.size import SizeLine
from model.size_line import fit_size
from model.weights import MemberWeights, NetworkWeights

Floats = NDArray[np.float64]
# What a window may count at most in the linear fit: that of a hundred times the median volatility.
_MOST_WEIGHT: Final = 10.0
# Interval widths need so many windows at least, where there are so many: few say little of what is
# far ahead, and each was forecast by what was not fitted to it.
_CALIBRATED: Final = 2_000
# TensorFlow and what comes with it; and of each bar its series, features, windows, sequences,
# TensorFlow's copy of them and the linear fit. Measured with 100 symbols, rounded up.
_BYTES_AT_FIRST: Final = 900_000_000
_BYTES_A_BAR: Final = 1_500


@dataclass(frozen=True)
class ModelSettings:
    """The settings that say what kind of model to fit, and how.

    `without` are fields of a bar that the source lacks: nothing is learned from them.
    """

    lookback: int
    training: Training
    intervals: Intervals
    without: Collection[str] = ()

    @property
    def horizons(self) -> tuple[int, ...]:
        """How far to forecast, in bars; the first one decides what is best."""
        return self.training.horizons


@dataclass(frozen=True)
class TrainedModel:
    """A fitted network with everything that its artifact says about it."""

    weights: NetworkWeights
    size: SizeLine
    manifest: Manifest
    onnx: bytes
    history: History

    def artifact(self, version: str) -> Artifact:
        """The model as it would be loaded, without a folder."""
        return Artifact(version, self.manifest, self.onnx)

    def keras(self) -> bytes:
        """The bytes of `model.keras`."""
        return save_keras(self.weights, sequence_steps(self.manifest.lookback))


def memory_needed(series: Sequence[Series]) -> int:
    """About how many bytes a process will have taken at most when it has trained on these bars."""
    return _BYTES_AT_FIRST + _BYTES_A_BAR * sum(len(one.bars) for one in series)


def fit_model(
    series: Sequence[Series],
    part: Span,
    settings: ModelSettings,
    start: NetworkWeights | None = None,
    on_epoch: EpochDone | None = None,
) -> TrainedModel:
    """Fit to the bars of `part`; intervals are calibrated on its last `validation_share`.

    `start` continues from the members of another model of the same shape. Raises
    NotEnoughBars where there are too few complete windows to learn from, and ConfigurationError
    where the lookback is too short for the features.
    """
    lookback, horizons = settings.lookback, settings.horizons
    windows = windows_of(series, part, lookback, horizons, settings.without)
    begin, newest = _validated_from(series, part, settings)
    if len(windows):
        newest = min(newest, int(np.sort(windows.end_times)[-_CALIBRATED:][0]) - 1)
    is_new = windows.end_times > newest
    _require_windows(len(windows), int(is_new.sum()), settings)
    weights, pooled, history = _fit_paths(windows, settings, series[0].bar_ms, start, on_epoch)
    symbol_gain = _symbol_gains(pooled, windows, settings.horizons, len(series))
    outputs = pooled * symbol_gain[windows.series]
    size, usual, log_size = fit_size(series, windows, horizons)
    errors = (np.abs(windows.targets - outputs) / np.exp(log_size))[is_new]
    calibrated = coverages(settings.intervals.coverage)
    widths = np.stack([conformal_half_width(errors, one) for one in calibrated], axis=1)
    half_widths = np.maximum(widths, SMALLEST_HALF_WIDTH).ravel()
    manifest = Manifest(
        interval=series[0].interval,
        symbols=tuple(s.symbol for s in series),
        feature_names=windows.feature_names,
        leaders={s.symbol: s.leaders for s in series if s.leaders},
        lookback=settings.lookback,
        horizons=settings.horizons,
        trained_from=begin,
        validated_from=newest,
        trained_until=part.end,
        coverage=settings.intervals.coverage,
        coverages=calibrated,
        half_widths=tuple(half_widths.tolist()),
        network_gain=tuple(weights.network_gain.tolist()),
        linear_gain=tuple(weights.linear_gain.tolist()),
        usual_volatility=usual,
        symbol_gain={s.symbol: tuple(g) for s, g in zip(series, symbol_gain.tolist(), strict=True)},
        seed=settings.training.seed,
    )
    onnx = export_onnx(weights, sequence_steps(settings.lookback), size)
    return TrainedModel(weights, size, manifest, onnx, history)


def _fit_paths(
    windows: Windows,
    settings: ModelSettings,
    bar_ms: int,
    start: NetworkWeights | None,
    on_epoch: EpochDone | None,
) -> tuple[NetworkWeights, Floats, History]:
    """The network fitted to `windows`, and what it forecasts without them.

    The second is (n_windows, n_horizons): on each window the output of a member and of a line that
    were not fitted to its stretch, with the gains of the whole.
    """
    held_out = stretches(windows.end_times, settings.training.members)
    embargo_ms = embargo_bars(settings.lookback, settings.horizons) * bar_ms
    for stretch in held_out:
        if not apart(windows.end_times, stretch, embargo_ms).any():
            raise NotEnoughBars(
                f"{len(windows)} windows are too few: none lies {embargo_ms // bar_ms} bars or "
                "more from those that a member is validated on; collect more bars"
            )
    members, history = fit_members(
        sequences_of(windows),
        held_out,
        embargo_ms,
        settings.training,
        start=None if start is None else start.members,
        on_epoch=on_epoch,
    )
    importance = window_weights(windows.scale)
    raw = _network_outputs(members, held_out, windows)
    mixed = first_horizon(raw, windows.targets, settings.horizons[0], [*LSTM_EARLY.values()])
    members, network = tuple(member.mixed(mixed) for member in members), raw @ mixed
    raw = out_of_fold_outputs(windows, importance, held_out, embargo_ms)
    mixed = first_horizon(raw, windows.targets, settings.horizons[0], [*LINEAR_EARLY.values()])
    kernel, linear = fit_linear(windows, importance) @ mixed, raw @ mixed
    network_gain, linear_gain = _gains(network, linear, windows, settings.horizons)
    weights = NetworkWeights(
        members,
        kernel,
        network_gain.astype(np.float32),
        linear_gain.astype(np.float32),
    )
    return weights, network * network_gain + linear * linear_gain, history


def window_weights(scale: Floats) -> Floats:
    """How much each window counts in the linear fit, from the volatility there.

    The error that matters is that of the return, so that volatile windows count more; fully, by
    the square, a handful of them would decide alone. An absurd move counts as a large one.
    """
    return np.minimum(np.sqrt(scale / np.median(scale)), _MOST_WEIGHT)


def _validated_from(
    series: Sequence[Series], part: Span, settings: ModelSettings
) -> tuple[int, int]:
    """When the bars of `part` begin, and when its last `validation_share` does."""
    there = covered(series, part)
    if not there:
        return part.start, part.start
    return there[0].start, newest_share(there, settings.training.validation_share)


def _require_windows(n_windows: int, n_newest: int, settings: ModelSettings) -> None:
    if settings.lookback < MIN_LOOKBACK:
        raise ConfigurationError(f"window.lookback must be at least {MIN_LOOKBACK} bars")
    for name, count, needed in (("training", n_windows, 120), ("validation", n_newest, 20)):
        if count < needed:
            raise NotEnoughBars(
                f"{count} complete windows in the {name} part, {needed} are needed: "
                f"collect more bars, or fill gaps, before training"
            )


def _network_outputs(
    members: Sequence[MemberWeights], held_out: Sequence[Span], windows: Windows
) -> Floats:
    """What each member forecasts on the stretch that it was not trained on.

    (n_windows, n_horizons + len(LSTM_EARLY)).
    """
    steps, n_outputs = sequence_steps(windows.lookback), len(members[0].head_bias)
    ones, none = np.ones(n_outputs, np.float32), np.zeros(n_outputs, np.float32)
    no_line = np.zeros((windows.bars.shape[1], n_outputs), np.float32)
    outputs = np.zeros((len(windows), n_outputs))
    for member, stretch in zip(members, held_out, strict=True):
        here = inside(windows.end_times, stretch)
        alone = export_onnx(NetworkWeights((member,), no_line, ones, none), steps)
        outputs[here] = run_graph(alone, windows.feature_batches(here))
    return outputs


def _gains(
    network: Floats, linear: Floats, windows: Windows, horizons: Sequence[int]
) -> tuple[Floats, Floats]:
    """How much of each path to believe at each horizon: its share, and the mixture's gain.

    Both are fitted to forecasts of windows that the paths were not fitted to, over the whole
    training part: its end alone is too short to tell a small skill from none.
    """
    gains = []
    for index, overlap in enumerate(horizons):
        actual = windows.targets[:, index]
        share = fit_share(network[:, index], linear[:, index], actual, overlap, len(windows))
        mixed = share * network[:, index] + (1 - share) * linear[:, index]
        gain = fit_gain(mixed, actual, overlap)
        gains.append((gain * share, gain * (1 - share)))
    network_gain, linear_gain = np.array(gains).T
    return network_gain, linear_gain


def _symbol_gains(
    outputs: Floats, windows: Windows, horizons: Sequence[int], n_series: int
) -> Floats:
    """How much more or less of the pooled forecast to believe for each series at each horizon
    (n_series, n_horizons); 1 for one that is alone, whose gain is the pooled one."""
    gains = np.ones((n_series, len(horizons)))
    if n_series > 1:
        of_series = windows.series
        for index, overlap in enumerate(horizons):
            found = symbol_gains(outputs[:, index], windows.targets[:, index], of_series, overlap)
            gains[: len(found), index] = found
    return gains
