"""A series out of a recorded file."""

import csv
import gzip
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from conf.errors import ConfigurationError
from conf.timeframes import TIMEFRAME_MS
from model.series import Series, on_grid

_FILE_HEADER: Final = ["time", "open", "high", "low", "close", "volumefrom", "volumeto"]


def read_file(file: Path, symbol: str, timeframe: str | None = None) -> Series:
    """Read a recorded `*.csv.gz` file: `time` in unix seconds UTC, then the six values of a bar.

    Without `interval` it is the most frequent step between two bars. Raises ConfigurationError
    where the file is missing, has another header or holds no bar.
    """
    if not file.is_file():
        raise ConfigurationError(f"no file {file}")
    with gzip.open(file, "rt", newline="") as lines:
        rows = csv.reader(lines)
        header = next(rows, [])
        if header != _FILE_HEADER:
            raise ConfigurationError(f"{file}: expected {','.join(_FILE_HEADER)}, found {header}")
        values = [[float(value or "nan") for value in row] for row in rows]
    if not values:
        raise ConfigurationError(f"{file}: no bars")
    table = np.array(values)
    times = (table[:, 0] * 1000).astype(np.int64)
    return on_grid(symbol, timeframe or _frequent_step(times, file), times.tolist(), table[:, 1:])


def _frequent_step(times: NDArray[np.int64], file: Path) -> str:
    steps, counts = np.unique(np.diff(times), return_counts=True)
    step = int(steps[np.argmax(counts)]) if len(steps) else 0
    for name, length in TIMEFRAME_MS.items():
        if length == step:
            return name
    known = ", ".join(TIMEFRAME_MS)
    raise ConfigurationError(f"{file}: bars are mostly {step} ms apart, which is none of {known}")
