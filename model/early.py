"""What else of the next bars is learned from: prices that come earlier than the next close.

Part of a close is noise that the next trade undoes, such as the side of the spread that the last
order fell on. The next bar's open and average show that with less of the noise that comes after.
Their forecasts are scaled to that of the close at the first horizon, and averaged with it.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.gains import fit_gain

Floats = NDArray[np.float64]

# Of the next bar the average of open, high, low and close, and the open; of the next two and five
# bars the mean of their middles.
EARLY: Final = ("average", "open", "middle_2", "middle_5")
# How many bars ahead the farthest of them looks.
EARLY_BARS: Final = 5
# Which of them each path learns, and how much each then counts at the first horizon, whose own
# forecast has the rest.
LSTM_EARLY: Final = {"average": 0.2, "open": 0.2}
LINEAR_EARLY: Final = {"open": 0.25, "middle_2": 0.25, "middle_5": 0.25}


def early_targets(bars: Floats, ends: NDArray[np.integer], scale: Floats) -> Floats:
    """Log moves from the close of each bar of `ends` to the prices of `EARLY`, over `scale`.

    `bars` (n_bars, 6 or more) on the interval's grid; `ends` and `scale` (n_windows,). Returns
    (n_windows, len(EARLY)); 0, no move, where a bar that it takes is missing or not there yet.
    """
    log_price = np.log(bars[:, :4])
    middle = log_price[:, 1:3].mean(axis=1)
    prices = {
        "average": _ahead(log_price.mean(axis=1), 1),
        "open": _ahead(log_price[:, 0], 1),
        "middle_2": _ahead(middle, 2),
        "middle_5": _ahead(middle, EARLY_BARS),
    }
    ends = np.asarray(ends)
    moved = np.stack([prices[name][ends] - log_price[ends, 3] for name in EARLY], axis=1)
    return np.asarray(np.nan_to_num(moved / scale[:, None]))


def _ahead(values: Floats, count: int) -> Floats:
    """The mean of the `count` values after each: (n,), NaN where one is missing."""
    padded = np.append(values, np.full(count, np.nan))
    shifted = [padded[at : at + len(values)] for at in range(1, count + 1)]
    return np.asarray(np.mean(shifted, axis=0))


def columns(targets: Floats, early: Floats, learned: Sequence[str]) -> Floats:
    """The targets of each horizon, and behind them those of `EARLY` that are `learned`."""
    return np.concatenate([targets, early[:, [EARLY.index(name) for name in learned]]], axis=1)


def first_horizon(
    outputs: Floats, targets: Floats, overlap: int, shares: Sequence[float]
) -> NDArray[np.float32]:
    """How forecasts of all columns become one for each horizon: outputs @ result.

    outputs: (n_windows, n_horizons + n_early) of windows that nothing was fitted to; targets:
    (n_windows, n_horizons). Returns (n_horizons + n_early, n_horizons): each early forecast goes to
    the first horizon with its share, scaled to the actual moves there; the other horizons stay.
    """
    n_raw, n_horizons = outputs.shape[1], targets.shape[1]
    mixed = np.eye(n_raw, n_horizons)
    of_column = {0: 1 - sum(shares), **dict(zip(range(n_horizons, n_raw), shares, strict=True))}
    for column, share in of_column.items():
        mixed[column, 0] = share * fit_gain(outputs[:, column], targets[:, 0], overlap)
    return mixed.astype(np.float32)
