"""The linear path: ridge regression from the last bars' features to every horizon.

Lai et al. 2018 (LSTNet) put an autoregressive part beside a recurrent network, which then has to
learn only what a line can't say. Solved in closed form: it costs nothing and finds the optimum.
"""

from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from model.dataset import TARGET_LIMIT, Sequences, Windows

Floats = NDArray[np.float64]
Array = NDArray[np.float32]

LINEAR_STEPS: Final = 5
# Penalty per window in units of a feature's variance, which is near one.
_PENALTY: Final = 0.01


def fit_linear(windows: Windows, weights: Floats) -> Array:
    """The kernel (LINEAR_STEPS * n_features, n_horizons) that fits the clipped targets best.

    `weights` (n_windows,) say how much each window counts.
    """
    inputs = flat_features(windows.features).astype(float)
    targets = np.clip(windows.targets, -TARGET_LIMIT, TARGET_LIMIT)
    weighted = inputs * weights[:, None]
    normal = inputs.T @ weighted
    normal[np.diag_indices_from(normal)] += _PENALTY * weights.sum()
    return np.linalg.solve(normal, weighted.T @ targets).astype(np.float32)


def flat_features(features: Array) -> Array:
    """The last LINEAR_STEPS steps of each window side by side, the oldest first."""
    return features[:, -LINEAR_STEPS:].reshape(len(features), -1)


def linear_outputs(sequences: Sequences, kernel: Array) -> Array:
    """The linear path at every target of the sequences, (n, steps, n_horizons)."""
    steps = sequences.targets.shape[1]
    recent = sequences.inputs[:, steps - LINEAR_STEPS :]
    windows = sliding_window_view(recent, LINEAR_STEPS, axis=1).swapaxes(2, 3)
    flat = windows.reshape(*windows.shape[:2], -1)
    return np.asarray(flat @ kernel, dtype=np.float32)
