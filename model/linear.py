"""The linear path: ridge regression from the last bars to every horizon.

Lai et al. 2018 (LSTNet) put an autoregressive part beside a recurrent network, which then has to
learn only what a line can't say. Solved in closed form: it costs nothing and finds the optimum.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.dataset import TARGET_LIMIT, Span, Windows, apart, inside
from model.early import LINEAR_EARLY, columns
from model.features import input_named

Floats = NDArray[np.float64]
Array = NDArray[np.float32]

LINEAR_STEPS: Final = 5
# Penalty per window in units of a return's variance, which is one.
_PENALTY: Final = 0.01


def out_of_fold_outputs(
    windows: Windows, weights: Floats, held_out: Sequence[Span], embargo_ms: int
) -> Floats:
    """The linear path's outputs on each window, fitted without its own stretch and the embargo.

    (n_windows, n_horizons + len(LINEAR_EARLY)); what the path will do on new bars, more or less.
    """
    outputs = np.zeros((len(windows), windows.targets.shape[1] + len(LINEAR_EARLY)))
    times = windows.end_times
    for stretch in held_out:
        here = inside(times, stretch)
        kernel = fit_linear(windows, np.where(apart(times, stretch, embargo_ms), weights, 0.0))
        outputs[here] = flat_features(windows.features(here)) @ kernel
    return outputs


def flat_features(features: Array) -> Array:
    """The last LINEAR_STEPS steps of each window side by side, the oldest first."""
    return features[:, -LINEAR_STEPS:].reshape(len(features), -1)


def fit_linear(windows: Windows, weights: Floats) -> Array:
    """The kernel (LINEAR_STEPS * n_features, n_horizons + len(LINEAR_EARLY)) that fits the clipped
    targets, and behind them the early ones, best; `weights` (n_windows,) of the windows."""
    used, n_features = _used_inputs(windows.feature_names), windows.bars.shape[1]
    inputs = np.empty((len(windows), len(used)), order="F")
    for column, (step, feature) in enumerate(divmod(place, n_features) for place in used):
        inputs[:, column] = windows.bars[windows.ends - (LINEAR_STEPS - 1 - step), feature]
    aims = columns(windows.targets, windows.early, [*LINEAR_EARLY])
    targets = np.clip(aims, -TARGET_LIMIT, TARGET_LIMIT)
    weighted = inputs * weights[:, None]
    normal = inputs.T @ weighted
    normal[np.diag_indices_from(normal)] += _PENALTY * weights.sum()
    kernel = np.zeros((LINEAR_STEPS * n_features, targets.shape[1]), np.float32)
    kernel[used] = np.linalg.solve(normal, weighted.T @ targets)
    return kernel


def _used_inputs(names: Sequence[str]) -> list[int]:
    """Which of the flat features the path reads, where each step has those of `names`."""
    read = [input_named(name) for name in names]
    line = [feature.line for feature, _ in read]
    # What moves first is in the newest bar of a leader: the ones before say nothing more.
    every = [i for i, s in enumerate(line) if s == "every step" and not read[i].leader]
    last = [i for i, s in enumerate(line) if s != "nowhere" and i not in every]
    used = [step * len(names) + index for step in range(LINEAR_STEPS) for index in every]
    return [*used, *((LINEAR_STEPS - 1) * len(names) + index for index in last)]
