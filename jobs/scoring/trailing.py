"""Trailing volatility around the last price: what live forecasts of how far are compared with.

The half-widths of its intervals come from the conformal step on the windows whose targets lay in
the two blocks before, those of a normal distribution where these are few. All follows from closes
alone, so that a block that is read again has them again.
"""

import itertools
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from conf.sections import Window
from model.features import MIN_VOLATILITY, trailing_sum, volatility_bars
from model.intervals import UPPER, central_widths

Floats = NDArray[np.float64]
# As shipped: what is scored does not say how far its model looks back.
_RETURNS: Final = volatility_bars(Window().lookback)
# The columns of the half-widths, of the intervals of CENTRAL.
TRAILING: Final = tuple(f"trailing_{name}" for name in UPPER)
# A run and a time in one number.
_RUN: Final = 2**43


def reach(horizon: int, block_bars: int) -> int:
    """How many bars before a block its closes begin."""
    return 2 * block_bars + horizon + _RETURNS + 1


def trailing_spread(
    rows: Mapping[str, Any],
    closes: Mapping[str, Any],
    n_runs: int,
    horizon: int,
    bar_ms: int,
    block_bars: int,
) -> dict[str, Floats]:
    """TRAILING, (n_rows,) each, of the rows of one block as log returns; NaN where a return is not
    known.

    `rows` have run, block and as_of; `closes`, in order of run and time, those of each run from
    `reach` bars before the block on.
    """
    if not len(rows["run"]) or not len(closes["run"]):
        return dict.fromkeys(TRAILING, np.full(len(rows["run"]), np.nan))
    log_close, place = np.log(closes["close"]), closes["run"] * _RUN + closes["time"]
    squares = np.append(np.nan, np.where(np.diff(place) == bar_ms, np.diff(log_close), np.nan) ** 2)
    volatility = np.sqrt(trailing_sum(squares, _RETURNS) / _RETURNS)
    size = np.maximum(volatility, MIN_VOLATILITY) * np.sqrt(horizon)
    until = rows["block"][0] * block_bars * bar_ms - closes["time"]
    ahead, known = _found(place, place + horizon * bar_ms)
    known &= np.isfinite(size) & (until >= horizon * bar_ms)
    known &= until < (horizon + 2 * block_bars) * bar_ms
    errors = (np.abs(log_close[ahead] - log_close) / size)[known]
    borders = np.searchsorted(closes["run"][known], np.arange(n_runs + 1))
    widths = [central_widths(errors[i:j, None])[0] for i, j in itertools.pairwise(borders)]
    here, there = _found(place, rows["run"] * _RUN + rows["as_of"])
    half = np.where(there, size[here], np.nan)[:, None] * np.array(widths)[rows["run"]]
    return dict(zip(TRAILING, half.T, strict=True))


def _found(place: NDArray[np.int64], wanted: NDArray[np.int64]) -> tuple[Any, Any]:
    """Where each of `wanted` is in `place`, which ascends, and whether it is there."""
    at = np.minimum(np.searchsorted(place, wanted), len(place) - 1)
    return at, place[at] == wanted
