"""Bars of one symbol as an array on the interval's grid, from a recorded file or the warehouse."""

import csv
import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
from numpy.typing import NDArray

from conf.errors import ConfigurationError, NotEnoughBars
from conf.intervals import INTERVAL_MS

Floats = NDArray[np.float64]
_FILE_HEADER: Final = ["time", "open", "high", "low", "close", "volumefrom", "volumeto"]
# One read of the newest version of each bar. A folder that is being written beside it starts with
# an underscore or a dot, and is no partition.
_NEWEST_BARS: Final = """
    SELECT symbol, epoch_ms(open_time::TIMESTAMP) AS open_time,
           open, high, low, close, base_volume, quote_volume
    FROM read_parquet(?, union_by_name = true, hive_partitioning = true)
    WHERE interval = ? AND (? IS NULL OR epoch_ms(open_time::TIMESTAMP) < ?)
    QUALIFY row_number() OVER (
        PARTITION BY symbol, open_time ORDER BY fetched_at DESC
    ) = 1
    ORDER BY symbol, open_time
"""


@dataclass(frozen=True)
class Series:
    """The bars of one symbol: row `i` of `bars` opens at `first_open_time + i * interval_ms`.

    `bars` (n_bars, 6): open, high, low, close, base_volume, quote_volume; (n_bars, 11) once
    `model.news.with_news` has put the columns of the news behind them. A missing bar is a row of
    NaN; an unknown quote volume is NaN alone. `first_open_time` is epoch milliseconds UTC.
    """

    symbol: str
    interval: str
    first_open_time: int
    bars: Floats

    @property
    def close(self) -> Floats:
        """Closing prices (n_bars,)."""
        return self.bars[:, 3]

    @property
    def interval_ms(self) -> int:
        """Length of a bar in milliseconds."""
        return INTERVAL_MS[self.interval]

    @property
    def end_time(self) -> int:
        """Close time of the last bar, epoch milliseconds UTC."""
        return self.first_open_time + len(self.bars) * self.interval_ms

    @property
    def n_present(self) -> int:
        """How many bars are there, gaps not counted."""
        return int(np.count_nonzero(~np.isnan(self.close)))

    def until(self, time_ms: int) -> "Series":
        """The bars that are closed at `time_ms`."""
        count = max(0, (time_ms - self.first_open_time) // self.interval_ms)
        return Series(self.symbol, self.interval, self.first_open_time, self.bars[:count])


def on_grid(symbol: str, interval: str, open_times: Iterable[int], bars: Floats) -> Series:
    """Lay bars that ascend in time out on the grid, with rows of NaN where one is missing.

    >>> series = on_grid("BTC-USD", "1m", [0, 120_000], np.ones((2, 6)))
    >>> series.close.tolist()
    [1.0, nan, 1.0]
    """
    times = np.asarray(list(open_times), dtype=np.int64)
    rows = (times - times[0]) // INTERVAL_MS[interval]
    grid = np.full((int(rows[-1]) + 1, 6), np.nan)
    grid[rows] = bars
    return Series(symbol, interval, int(times[0]), grid)


def read_file(file: Path, symbol: str, interval: str | None = None) -> Series:
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
    return on_grid(symbol, interval or _frequent_step(times, file), times.tolist(), table[:, 1:])


def _frequent_step(times: NDArray[np.int64], file: Path) -> str:
    steps, counts = np.unique(np.diff(times), return_counts=True)
    step = int(steps[np.argmax(counts)]) if len(steps) else 0
    for name, length in INTERVAL_MS.items():
        if length == step:
            return name
    known = ", ".join(INTERVAL_MS)
    raise ConfigurationError(f"{file}: bars are mostly {step} ms apart, which is none of {known}")


def read_warehouse(
    bars_dir: Path, interval: str, symbols: list[str] | None = None, until_ms: int | None = None
) -> list[Series]:
    """Read the newest version of each archived bar, a series a symbol.

    `until_ms` (epoch ms, exclusive) bounds `open_time`; `symbols` None means all that are there.
    Raises NotEnoughBars where there is nothing to read yet.
    """
    files = [
        str(file) for file in sorted(bars_dir.rglob("*.parquet")) if _is_committed(file, bars_dir)
    ]
    if not files:
        raise NotEnoughBars(f"no bars in {bars_dir}: run the stream or `--data FILE` first")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute(_NEWEST_BARS, [files, interval, until_ms, until_ms]).fetchnumpy()
    names = np.asarray(found["symbol"]).astype(str)
    columns = ("open", "high", "low", "close", "base_volume", "quote_volume")
    bars: Floats = np.stack(
        [np.ma.filled(np.ma.asarray(found[c], float), np.nan) for c in columns], axis=1
    )
    series = []
    for name in sorted(set(names)) if symbols is None else symbols:
        mine = names == name
        if not mine.any():
            raise NotEnoughBars(f"no {interval} bars of {name} in {bars_dir} yet")
        series.append(on_grid(name, interval, found["open_time"][mine].tolist(), bars[mine]))
    if not series:
        raise NotEnoughBars(f"no {interval} bars in {bars_dir} yet")
    return series


def _is_committed(file: Path, bars_dir: Path) -> bool:
    return not any(part.startswith(("_", ".")) for part in file.relative_to(bars_dir).parts)
