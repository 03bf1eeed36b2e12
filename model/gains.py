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
# The pooled forecast has passed that already: two standard errors are asked of a symbol.
SYMBOL_CAUTION: Final = 2.0**2
# By how much the factors of symbols differ that one model forecasts; measured 0.15 to 0.6.
SPREAD: Final = 0.5


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
    return min(1.0, max(0.0, prior + shrunk(from_prior, variance)))


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
    return min(MAX_GAIN, max(0.0, shrunk(gain, variance)))


def symbol_gains(
    forecast: Floats, targets: Floats, symbol: NDArray[np.integer], overlap: int
) -> Floats:
    """How much of a pooled forecast to believe for each symbol (n_symbols,); 1: as much as for all.

    `symbol` (n_windows,) numbers the symbols. The least-squares factor `g` of a symbol's windows,
    with standard error `s`, is drawn to 1 by its noise, as if the factors of symbols were spread by
    SPREAD about it: few windows say little about one of them. What is left of the noise then draws
    it to 0, as in `fit_gain`: a symbol that many windows show nothing for is not forecast.

    >>> noise = np.random.default_rng(1).normal(size=(3, 5000))
    >>> follows = np.repeat([1, 0], 2500)
    >>> targets = noise[1] + follows * 0.5 * noise[0]
    >>> symbol_gains(0.25 * noise[0], targets, 1 - follows, 1).round(1).tolist()
    [1.5, 0.0]
    """
    clipped = np.clip(targets, -GAIN_TARGET_LIMIT, GAIN_TARGET_LIMIT)
    gains = np.ones(int(symbol.max()) + 1)
    for index in np.unique(symbol):
        mine = symbol == index
        factor, variance = _least_squares(forecast[mine], clipped[mine], overlap)
        if variance > 0:
            known = SPREAD**2 / (SPREAD**2 + variance / CAUTION)
            drawn = known * factor + 1 - known
            noise = SYMBOL_CAUTION * known**2 * variance / CAUTION
            gains[index] = min(MAX_GAIN, max(0.0, shrunk(drawn, noise)))
    return gains


def _least_squares(inputs: Floats, targets: Floats, overlap: int) -> tuple[float, float]:
    """The factor on `inputs` that comes closest to `targets`, and its variance."""
    power = float(np.sum(inputs**2))
    if power <= 0:
        return 0.0, 0.0
    factor = float(np.sum(inputs * targets)) / power
    left = targets - factor * inputs
    return factor, CAUTION * overlap * float(np.sum((inputs * left) ** 2)) / power**2


def shrunk(value: float, variance: float) -> float:
    """A value drawn to none by its noise: positive-part James-Stein."""
    return 0.0 if value == 0 else value * max(0.0, 1 - variance / value**2)
