"""Would it have paid? What acting on the sign of each forecast would have made, before fees.

Each forecast of a rise buys at the last close, each of a fall sells, and the position is held to
the horizon, where the next forecast of the same sign keeps it. No price moves by it, and every
order is filled at the close: it is the most that the forecasts could have made. No advice.

```
 horizon 1   sign        +  +  -  0     turnover: 2 sides, 0, 2, 0: what is opened is closed
             move, bp    4 -1 -3  2     gain:     4, -1, 3, 0; mean 1.5, of 1 side
                                        breaks even at a fee of 1.5 basis points a side
```
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from model.outcomes import Outcomes
from model.significance import lags_of, resampled_ratios

Floats = NDArray[np.float64]
BASIS_POINTS: Final = 1e4
# Fewer blocks, each of `lags_of(horizon)` forecasts, say too little of how sure a fee is.
LEAST_BLOCKS: Final = 8


@dataclass(frozen=True)
class Paid:
    """What acting on the sign of a forecaster would have made on one symbol at one horizon.

    `gain_bp` is the mean gain of a forecast, `turnover` how many times the position was bought or
    sold for it; `break_even_bp` the fee of one side at which nothing is left, NaN where it never
    acted, with its 95 % interval `low_bp` to `high_bp` (block bootstrap), NaN of too few.
    """

    gain_bp: float
    turnover: float
    break_even_bp: float
    low_bp: float
    high_bp: float

    def verdict(self, fee_bp: float) -> str:
        """Beside the venue's usual fee of one side in basis points.

        >>> Paid(0.8, 1.0, 0.8, 0.5, 1.1).verdict(10)
        'it would not have paid'
        """
        if not self.turnover > 0:
            return "it forecast no move, so that there was nothing to act on"
        if self.low_bp > fee_bp:
            return "it would have paid"
        if self.high_bp <= fee_bp:
            return "it would not have paid"
        few = np.isnan(self.low_bp)
        return "too early to tell" if few else "whether it would have paid can't be told"

    def sentence(self, fee_bp: float) -> str:
        """For people: what it made, where it breaks even, and the verdict."""
        if not self.turnover > 0:
            return self.verdict(fee_bp)
        if np.isnan(self.low_bp):
            return f"{self.verdict(fee_bp)} what acting on its sign would have made"
        return (
            f"acting on its sign made {self.gain_bp:+.2f} basis points a forecast and breaks even "
            f"at a fee of {self.break_even_bp:.2f} ({self.low_bp:.2f} to {self.high_bp:.2f}) a "
            f"side; the usual fee is {fee_bp:g}: {self.verdict(fee_bp)}"
        )


def acted(signs: Floats, held: Floats, moves: Floats) -> tuple[Floats, Floats]:
    """What each forecast gains, as a log return, and how many times it trades: (n,) each.

    `held` is the sign that was forecast a horizon before, whose position ends here, 0 where none
    was. A forecast of the same sign keeps it; another is an order to open and, in time, to close.
    """
    return signs * moves, 2.0 * np.abs(signs) * (signs != held)


def would_have_paid(outcomes: Outcomes, name: str, seed: int = 1) -> Paid:
    """Of one symbol at one horizon, in order of time; `seed` is that of the bootstrap."""
    horizon = int(outcomes.horizon.max(initial=1))
    signs = np.sign(outcomes.forecast(name))
    gain, turnover = acted(signs, _held(signs, outcomes.time, horizon), outcomes.actual)
    mean_bp = BASIS_POINTS * float(gain.mean()) if len(gain) else 0.0
    if not turnover.any():
        return Paid(mean_bp, 0.0, *[float("nan")] * 3)
    length, low, high = lags_of(horizon), np.nan, np.nan
    if len(gain) >= LEAST_BLOCKS * length:
        ratios = BASIS_POINTS * resampled_ratios(gain, turnover, length, seed)
        low, high = np.quantile(ratios, (0.025, 0.975))
    break_even_bp = BASIS_POINTS * float(gain.sum() / turnover.sum())
    return Paid(mean_bp, float(turnover.mean()), break_even_bp, float(low), float(high))


def block_sums(gain: Floats, turnover: Floats, run: Any, n_runs: int, horizon: int) -> Floats:
    """Sums over blocks of forecasts of each run, which add up (n_runs, 4): the number of blocks,
    and of their gains and turnovers the squares and the products.

    `gain`, `turnover` and `run` (n,), in order of run and time.
    """
    place = np.arange(len(run)) - np.searchsorted(run, run)
    ids = run * (len(run) + 1) + place // lags_of(horizon)
    first, block = np.unique(ids, return_index=True, return_inverse=True)[1:]
    gains, turned = (np.bincount(block, values, len(first)) for values in (gain, turnover))
    values = (np.ones(len(first)), gains**2, turned**2, gains * turned)
    return np.stack([np.bincount(run[first], one, n_runs) for one in values], axis=1)


def break_even(gain: Floats, turnover: Floats, blocks: Floats) -> tuple[Floats, Floats]:
    """The fee of one side at which nothing is left of each run, and half its 95 % interval, as log
    returns (n_runs,); NaN where there is none, or where too few blocks say how sure it is.

    `blocks` as from `block_sums`. It is what the block bootstrap tends to with many blocks, and
    needs no more than sums.
    """
    count, gains, turned, both = blocks.T
    with np.errstate(divide="ignore", invalid="ignore"):
        fee = np.where(turnover > 0, gain / turnover, np.nan)
        squares = np.maximum(gains - 2 * fee * both + fee**2 * turned, 0.0)
        spread = np.sqrt(squares * count / (count - 1)) / turnover
    half = stats.t.ppf(0.975, np.maximum(count - 1, 1)) * spread
    return fee, np.where(count >= LEAST_BLOCKS, half, np.nan)


def _held(signs: Floats, times: NDArray[np.int64], horizon: int) -> Floats:
    """The sign that was forecast a horizon before each time (n,), 0 where none was."""
    if len(times) < 2:
        return np.zeros(len(times))
    before = times - horizon * int(np.diff(times).min())
    place = np.minimum(np.searchsorted(times, before), len(times) - 1)
    return np.where(times[place] == before, signs[place], 0.0)
