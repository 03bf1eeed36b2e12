"""Fit the line of `model.size`: how far a price may move, and how much of that to believe."""

import itertools
import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.dataset import Span, Windows, apart, inside
from model.gains import CAUTION, shrunk
from model.series import Series
from model.significance import lags_of
from model.size import SizeLine, size_inputs

Floats = NDArray[np.float64]
# A size of more than these many volatilities counts as that; the line moves no scale further than
# this factor, as a logarithm.
_SIZE_LIMIT: Final = 20.0
_LOG_LIMIT: Final = 1.5
# Where the price never moved a size is expected all the same, far below any tick: an interval of a
# part of it must still tell its ends apart as prices.
_SMALLEST_SIZE: Final = 1e-3
# In units of windows that are independent, each input at its usual spread.
_PENALTY: Final = 20.0
# An input further than so many times its spread from its mean counts as that far.
_USUAL: Final = 2.0
_NEWTON_STEPS: Final = 12
# Fewer windows that share no bar of their targets say nothing about a line.
_LEAST_INDEPENDENT: Final = 60


def fit_size(
    series: Sequence[Series],
    windows: Windows,
    horizons: Sequence[int],
    held_out: Sequence[Span],
    embargo_ms: int,
) -> tuple[SizeLine, Floats]:
    """The line fitted to `windows` of `series`, and the logarithms (n_windows, n_horizons) of what
    it expects, over `volatility * sqrt(horizon)`, where it was not fitted to the window's stretch.
    """
    inputs, typical = _inputs_and_typical(series, windows, horizons)
    mean, spread = inputs.mean(axis=0), inputs.std(axis=0) + 1e-6
    low, high = mean - _USUAL * spread, mean + _USUAL * spread
    inputs = (np.clip(inputs, low, high) - mean) / spread
    moved = np.minimum(np.abs(windows.targets), _SIZE_LIMIT)
    kernels, biases, expected = [], [], np.empty(windows.targets.shape)
    for place, horizon in enumerate(horizons):
        aims, penalty = typical[:, place], _PENALTY * horizon
        apart_line = np.zeros(len(windows))
        for stretch in held_out:
            here = inside(windows.end_times, stretch)
            far = apart(windows.end_times, stretch, embargo_ms)
            apart_line[here] = inputs[here] @ _fit_line(inputs[far], aims[far], penalty)
        apart_line = np.clip(apart_line, -_LOG_LIMIT, _LOG_LIMIT)
        gain = _gain(apart_line, moved[:, place], windows.end_times, horizon)
        bias = _log_mean(moved[:, place] * np.exp(-gain * apart_line))
        kernel = gain * _fit_line(inputs, aims, penalty) / spread
        kernels.append(kernel)
        biases.append(bias - mean @ kernel)
        expected[:, place] = gain * apart_line + bias
    served = np.stack(kernels, axis=1), np.array(biases), low, high
    return SizeLine(*(one.astype(np.float32) for one in served)), expected


def _inputs_and_typical(
    series: Sequence[Series], windows: Windows, horizons: Sequence[int]
) -> tuple[Floats, Floats]:
    """(n_windows, n_inputs), and of the bars to each horizon the mean size of a return over the
    volatility before, (n_windows, n_horizons): far less noisy than the one return over all of them.
    """
    inputs, typical = [], []
    for one, (first, stop) in zip(series, itertools.pairwise(windows.firsts), strict=True):
        here = (windows.ends >= first) & (windows.ends < stop)
        ends = windows.ends[here] - first
        inputs.append(size_inputs(one.bars, windows.lookback, ends))
        sizes = np.abs(np.diff(np.log(one.close), prepend=np.nan))
        known = np.cumsum(np.isfinite(sizes))
        total = np.cumsum(np.nan_to_num(sizes))
        found = [
            (total[ends + h] - total[ends]) / np.maximum(known[ends + h] - known[ends], 1)
            for h in horizons
        ]
        typical.append(np.stack(found, axis=1) / windows.scale[here][:, None])
    return (
        np.concatenate(inputs).astype(np.float64),
        np.minimum(np.concatenate(typical), _SIZE_LIMIT),
    )


def _fit_line(inputs: Floats, sizes: Floats, penalty: float) -> Floats:
    """The line (n_inputs,) whose exponential, times a constant, is the mean of `sizes`.

    It maximises the likelihood of exponential sizes, those of Laplace returns, by Newton's steps.
    """
    if len(inputs) == 0 or not sizes.any():
        return np.zeros(inputs.shape[1])
    design = np.column_stack([np.ones(len(inputs)), inputs])
    ridge = np.append(1e-9, np.full(inputs.shape[1], penalty))
    line = np.zeros(design.shape[1])
    line[0] = math.log(sizes.mean())
    for _ in range(_NEWTON_STEPS):
        ratio = sizes * np.exp(-np.clip(design @ line, -_SIZE_LIMIT, _SIZE_LIMIT))
        slope = design.T @ (1 - ratio) + ridge * np.append(0.0, line[1:])
        step = np.linalg.solve((design * ratio[:, None]).T @ design + np.diag(ridge), slope)
        longest = float(np.abs(design @ step).max())
        line -= step * min(1.0, 2 / max(longest, 1e-12))
        if longest < 1e-6:
            break
    return line[1:]


def _gain(line: Floats, sizes: Floats, times: NDArray[np.int64], horizon: int) -> float:
    """How much of the line to believe, 0 to 1: what would have been best on these windows, shrunk
    by its own noise as `gains.fit_gain` does.

    `sizes` are of the moves that came, each (n_windows,). Windows of one time, and those whose
    targets overlap, err together: they count as one, and by their autocovariances (Newey and West
    1987).
    """
    by_time = np.unique(times, return_inverse=True)[1]
    n_times = int(by_time.max(initial=-1)) + 1
    if line.std() < 1e-6 or not sizes.any() or n_times < _LEAST_INDEPENDENT * horizon:
        return 0.0
    centred, gain = line - line.mean(), 0.0
    for _ in range(_NEWTON_STEPS):
        ratio = sizes * np.exp(-gain * line)
        ratio /= ratio.mean()
        score, curve = centred * (1 - ratio), float(np.mean(centred**2 * ratio))
        gain = min(max(gain - float(score.mean()) / max(curve, 1e-12), 0.0), 2.0)
    score = np.bincount(by_time, score)
    lags = min(lags_of(horizon), n_times - 1)
    variance = float(score @ score)
    for lag in range(1, lags + 1):
        variance += 2 * (1 - lag / (lags + 1)) * float(score[lag:] @ score[:-lag])
    variance = max(variance, float(score @ score)) / (len(line) * max(curve, 1e-12)) ** 2
    return min(1.0, max(0.0, shrunk(gain, CAUTION * variance)))


def _log_mean(values: Floats) -> float:
    return math.log(max(float(values.mean()), _SMALLEST_SIZE))
