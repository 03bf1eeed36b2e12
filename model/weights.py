"""The weights of a trained network as plain arrays: what Keras fits and what ONNX serves."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True)
class MemberWeights:
    """One LSTM of the ensemble and the linear head on its last state.

    `kernel` (n_features, 4 * units), `recurrent` (units, 4 * units) and `bias` (4 * units,) hold
    the gates in Keras's order: input, forget, cell, output. `head_kernel` (units, n_horizons),
    `head_bias` (n_horizons,).
    """

    kernel: Array
    recurrent: Array
    bias: Array
    head_kernel: Array
    head_bias: Array


@dataclass(frozen=True)
class NetworkWeights:
    """An ensemble, the linear path beside it, and how much each of the two counts.

    The output at a horizon is `network_gain * mean of the members + linear_gain * linear path`.
    `linear_kernel` (linear_steps * n_features, n_horizons) reads the last steps, the oldest first.
    """

    members: tuple[MemberWeights, ...]
    linear_kernel: Array
    network_gain: Array
    linear_gain: Array
