"""The weights of a trained network as plain arrays: what Keras fits and what ONNX serves."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True)
class MemberWeights:
    """One member of the ensemble and the linear head on its last state.

    `recurrent` are the arrays of its recurrent layer as Keras has them: of an LSTM the kernel
    (n_features, 4 * units), the recurrent kernel (units, 4 * units) and the bias (4 * units,), the
    gates in the order input, forget, cell, output. `head_kernel` (units, n_horizons), `head_bias`
    (n_horizons,); while it is trained, the head has columns for early targets behind those of the
    horizons.
    """

    recurrent: tuple[Array, ...]
    head_kernel: Array
    head_bias: Array

    def mixed(self, mixed: Array) -> "MemberWeights":
        """The member whose outputs are this one's, (n_windows, n_outputs), times `mixed`."""
        return replace(self, head_kernel=self.head_kernel @ mixed, head_bias=self.head_bias @ mixed)


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

    @property
    def linear_steps(self) -> int:
        """How many of the last steps the linear path reads."""
        return len(self.linear_kernel) // len(self.members[0].recurrent[0])

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Those of all arrays: equal in networks that can go on from each other's weights."""
        members = [array for one in self.members for array in (*one.recurrent, one.head_kernel)]
        return [array.shape for array in (*members, self.linear_kernel)]
