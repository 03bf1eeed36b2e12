"""The linear path: ridge regression from the last bars' returns to every horizon.

Lai et al. 2018 (LSTNet) put an autoregressive part beside a recurrent network, which then has to
learn only what a line can't say. Solved in closed form: it costs nothing and finds the optimum.
"""

import itertools
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.dataset import TARGET_LIMIT, Windows
from model.features import NEWS_FEATURE_NAMES

Floats = NDArray[np.float64]
Array = NDArray[np.float32]

LINEAR_STEPS: Final = 5
# Of each of these steps the path reads the return alone, and the score of the news where there is
# one. With the other features it did better on some series and much worse on others: they are left
# to the LSTMs.
_FEATURES: Final = tuple(NEWS_FEATURE_NAMES.index(name) for name in ("log_return", "news_score"))
# Penalty per window in units of a return's variance, which is one.
_PENALTY: Final = 0.01
_STRETCHES: Final = 5


def out_of_fold_outputs(windows: Windows, weights: Floats, embargo_ms: int) -> Floats:
    """The linear path's outputs (n_windows, n_horizons), each fitted without its own stretch.

    The windows are cut into stretches of time; what lies within the embargo around a stretch is
    left out of its fit too. Much closer to what the path will do on new bars than its own fit is.
    """
    outputs = np.zeros_like(windows.targets)
    times = windows.end_times
    borders = np.quantile(times, np.linspace(0, 1, _STRETCHES + 1))
    borders[-1] += 1
    for low, high in itertools.pairwise(borders):
        inside = (times >= low) & (times < high)
        outside = (times < low - embargo_ms) | (times >= high + embargo_ms)
        kernel = fit_linear(windows, np.where(outside, weights, 0.0))
        outputs[inside] = flat_features(windows.features[inside]) @ kernel
    return outputs


def flat_features(features: Array) -> Array:
    """The last LINEAR_STEPS steps of each window side by side, the oldest first."""
    return features[:, -LINEAR_STEPS:].reshape(len(features), -1)


def fit_linear(windows: Windows, weights: Floats) -> Array:
    """The kernel (LINEAR_STEPS * n_features, n_horizons) that fits the clipped targets best.

    `weights` (n_windows,) say how much each window counts.
    """
    n_features = windows.features.shape[2]
    read = [index for index in _FEATURES if index < n_features]
    inputs = windows.features[:, -LINEAR_STEPS:, read].reshape(len(windows), -1).astype(float)
    targets = np.clip(windows.targets, -TARGET_LIMIT, TARGET_LIMIT)
    weighted = inputs * weights[:, None]
    normal = inputs.T @ weighted
    normal[np.diag_indices_from(normal)] += _PENALTY * weights.sum()
    solved = np.linalg.solve(normal, weighted.T @ targets)
    kernel = np.zeros((LINEAR_STEPS, n_features, targets.shape[1]), np.float32)
    kernel[:, read] = solved.reshape(LINEAR_STEPS, len(read), -1)
    return kernel.reshape(-1, targets.shape[1])
