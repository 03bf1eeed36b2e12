"""Fit what `model.size` learns of series: their usual volatility, and how far is far on average."""

import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.dataset import Windows
from model.series import Series
from model.size import SizeLine, size_inputs, size_kernel

Floats = NDArray[np.float64]
# A size of more than these many volatilities counts as that.
_SIZE_LIMIT: Final = 20.0
# Where the price never moved a size is expected all the same, far below any tick: an interval of a
# part of it must still tell its ends apart as prices.
_SMALLEST_SIZE: Final = 1e-3


def fit_size(
    series: Sequence[Series], windows: Windows, horizons: Sequence[int]
) -> tuple[SizeLine, dict[str, float], Floats]:
    """The line of `windows` of `series`, the usual volatility of each by its symbol, and the
    logarithms (n_windows, n_horizons) of what the line expects, over `volatility * sqrt(horizon)`.
    """
    kernel, usual, lines = size_kernel(horizons), {}, []
    for one, (first, stop) in zip(series, itertools.pairwise(windows.firsts), strict=True):
        here = (windows.ends >= first) & (windows.ends < stop)
        if here.any():
            usual[one.symbol] = float(np.exp(np.log(windows.scale[here]).mean()))
            ends = windows.ends[here] - first
            inputs = size_inputs(one.bars, windows.lookback, ends, usual[one.symbol])
            lines.append(inputs.astype(np.float64) @ kernel)
    line = np.concatenate(lines)
    moved = np.minimum(np.abs(windows.targets) * np.exp(-line), _SIZE_LIMIT)
    bias = np.log(np.maximum(moved.mean(axis=0), _SMALLEST_SIZE))
    return SizeLine(kernel.astype(np.float32), bias.astype(np.float32)), usual, line + bias
