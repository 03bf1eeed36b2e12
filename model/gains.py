"""How much of a forecast to believe, from windows that it was not fitted to."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Few windows decide the gain: one jump of the price should not.
GAIN_TARGET_LIMIT: Final = 3.0
MAX_GAIN: Final = 1.5
# Trained on so many windows, the LSTMs have half of the share that they have in the end.
HALF_SHARE_WINDOWS: Final = 2000
# A forecast has to stand out by three standard errors before any of it is used: markets have been
# searched for patterns so often that two find what chance made (Harvey, Liu and Zhu 2016).
CAUTION: Final = 3.0**2


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

    A gain `g` with standard error `s` becomes `g * (1 - CAUTION * s^2 / g^2)`, or 0 where that is
    negative (positive-part James-Stein, but for CAUTION). `overlap` is how many windows share a bar
    of their targets: so many fewer are independent. Fitting to clipped targets makes forecasts too
    small, so that a gain may exceed 1.

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
    return factor, CAUTION * overlap * float(np.sum((inputs * left) ** 2)) / power**2


def _shrunk(value: float, variance: float) -> float:
    return 0.0 if value == 0 else value * max(0.0, 1 - variance / value**2)
