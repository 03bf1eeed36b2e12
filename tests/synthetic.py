"""Made-up bars with a known law, so that a test knows what there is to learn."""

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.features import bar_features, window_inputs
from model.series import Series

START = 1_514_219_880_000


def random_bars(count: int, seed: int, momentum: float = 0.0) -> NDArray[np.float64]:
    """Bars (count, 6) whose log returns follow the one before by `momentum`, plus noise."""
    noise = np.random.default_rng(seed)
    returns = np.zeros(count)
    shocks = noise.normal(0, 0.001, count)
    for i in range(1, count):
        returns[i] = momentum * returns[i - 1] + shocks[i]
    close = 100 * np.exp(np.cumsum(returns))
    open_ = np.concatenate([close[:1], close[:-1]])
    high = np.maximum(open_, close) * (1 + np.abs(noise.normal(0, 0.0003, count)))
    low = np.minimum(open_, close) * (1 - np.abs(noise.normal(0, 0.0003, count)))
    volume = noise.lognormal(0, 0.5, count)
    return np.column_stack([open_, high, low, close, volume, volume * (open_ + close) / 2])


def random_series(
    count: int, seed: int, momentum: float = 0.0, symbol: str = "BTC-USD", timeframe: str = "1m"
) -> Series:
    return Series(symbol, timeframe, START, random_bars(count, seed, momentum))


def led_by(
    returns: NDArray[np.float64], delay: int, weight: float, seed: int
) -> NDArray[np.float64]:
    """Bars (n, 6) whose log returns follow those of a leader by so many bars, with noise."""
    noise = np.random.default_rng(seed).normal(0, 0.001, len(returns))
    follow = weight * np.roll(returns, delay) + noise
    follow[:delay] = noise[:delay]
    bars = random_bars(len(returns), seed)
    ratio = 100 * np.exp(np.cumsum(follow)) / bars[:, 3]
    bars[:, :4] *= ratio[:, None]
    return bars


def window_features(
    bars: NDArray[np.float64], ends: NDArray[np.integer], lookback: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """What a network reads of the windows that end at `ends`, and the scale of its outputs."""
    features, scale = bar_features(bars, lookback)
    return window_inputs(features, ends, lookback), scale[ends]


def write_file(file: Path, series: Series) -> None:
    """Write a series as a recorded file."""
    lines = ["time,open,high,low,close,volumefrom,volumeto"]
    for row, values in enumerate(series.bars.tolist()):
        time_s = series.first_open_time // 1000 + row * series.bar_ms // 1000
        lines.append(",".join(str(value) for value in (time_s, *values)))
    file.write_bytes(gzip.compress("\n".join(lines).encode()))
