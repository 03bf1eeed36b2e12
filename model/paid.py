"""Would it have paid? What acting on the sign of each forecast would have made, before fees.

Each forecast of a rise buys at the last close, each of a fall sells, and the position is held to
the horizon, where the next forecast of the same sign keeps it. No price moves by it, and every
order is filled at the close: it is the most that the forecasts could have made. No advice.

```
 horizon 1   sign        +  +  -  0     turnover: 1 to open, 0, 2 to turn, 1 to close; mean 1
             move, bp    4 -1 -3  2     gain:     4, -1, 3, 0; mean 1.5
                                        breaks even at a fee of 1.5 basis points a side
```
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.outcomes import Outcomes
from model.significance import resampled_ratios

Floats = NDArray[np.float64]
_BASIS_POINTS = 1e4


@dataclass(frozen=True)
class Paid:
    """What acting on the sign of a forecaster would have made on one symbol at one horizon.

    `gain_bp` is the mean gain of a forecast, `turnover` how many times the position was bought or
    sold for it; `break_even_bp` the fee of one side at which nothing is left, with its 95 %
    interval `low_bp` to `high_bp` (block bootstrap), NaN where it never acted.
    """

    actions: int
    gain_bp: float
    turnover: float
    break_even_bp: float
    low_bp: float
    high_bp: float

    def sentence(self, fee_bp: float) -> str:
        """For people, beside the venue's usual fee of one side in basis points.

        >>> Paid(900, 0.8, 1.0, 0.8, 0.5, 1.1).sentence(10).split("; ")[1]
        'the usual fee is 10: it would not have paid'
        """
        if self.actions == 0:
            return "it forecast no move, so that there was nothing to act on"
        if self.low_bp > fee_bp:
            verdict = "it would have paid"
        elif self.high_bp > fee_bp:
            verdict = "whether it would have paid can't be told from chance"
        else:
            verdict = "it would not have paid"
        return (
            f"acting on its sign made {self.gain_bp:+.2f} basis points a forecast and breaks even "
            f"at a fee of {self.break_even_bp:.2f} ({self.low_bp:.2f} to {self.high_bp:.2f}) a "
            f"side; the usual fee is {fee_bp:g}: {verdict}"
        )


def would_have_paid(outcomes: Outcomes, name: str, seed: int = 1) -> Paid:
    """Of one symbol at one horizon, in order of time; `seed` is that of the bootstrap."""
    horizon = int(outcomes.horizon.max(initial=1))
    signs = np.sign(outcomes.forecast(name))
    gain = _BASIS_POINTS * signs * outcomes.actual
    turnover = _turnover(signs, outcomes.time, horizon)
    actions = int(np.count_nonzero(signs))
    mean = float(gain.mean()) if len(gain) else 0.0
    if actions == 0 or not turnover.any():
        return Paid(actions, mean, 0.0, *[float("nan")] * 3)
    length = max(2 * horizon, round(len(gain) ** (1 / 3)))
    low, high = np.quantile(resampled_ratios(gain, turnover, length, seed), (0.025, 0.975))
    break_even = float(gain.sum() / turnover.sum())
    return Paid(actions, mean, float(turnover.mean()), break_even, float(low), float(high))


def _turnover(signs: Floats, times: NDArray[np.int64], horizon: int) -> Floats:
    """How much of a position each forecast buys or sells (n,): the change since the one that was
    made a horizon before, which it follows on, and what it closes where none follows on it."""
    if len(times) < 2:
        return 2 * np.abs(signs)
    length = horizon * int(np.diff(times).min())
    held, _ = _sign_at(signs, times, times - length)
    _, goes_on = _sign_at(signs, times, times + length)
    return np.abs(signs - held) + np.where(goes_on, 0.0, np.abs(signs))


def _sign_at(
    signs: Floats, times: NDArray[np.int64], asked: NDArray[np.int64]
) -> tuple[Floats, NDArray[np.bool_]]:
    """The sign forecast at each time asked for (n,), 0 where none is, and whether one is."""
    place = np.minimum(np.searchsorted(times, asked), len(times) - 1)
    there = times[place] == asked
    return np.where(there, signs[place], 0.0), there
