"""Series out of the table `bars` of the warehouse."""

from pathlib import Path
from typing import Final

import duckdb
import numpy as np
from numpy.typing import NDArray

from conf.errors import NotEnoughBars
from model.series import Series, on_grid

Floats = NDArray[np.float64]
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


def read_warehouse(
    bars_dir: Path, timeframe: str, symbols: list[str] | None = None, until_ms: int | None = None
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
        found = connection.execute(
            _NEWEST_BARS, [files, timeframe, until_ms, until_ms]
        ).fetchnumpy()
    names = np.asarray(found["symbol"]).astype(str)
    columns = ("open", "high", "low", "close", "base_volume", "quote_volume")
    bars: Floats = np.stack(
        [np.ma.filled(np.ma.asarray(found[c], float), np.nan) for c in columns], axis=1
    )
    series = []
    for name in sorted(set(names)) if symbols is None else symbols:
        mine = names == name
        if not mine.any():
            raise NotEnoughBars(f"no {timeframe} bars of {name} in {bars_dir} yet")
        series.append(on_grid(name, timeframe, found["open_time"][mine].tolist(), bars[mine]))
    if not series:
        raise NotEnoughBars(f"no {timeframe} bars in {bars_dir} yet")
    return series


def _is_committed(file: Path, bars_dir: Path) -> bool:
    return not any(part.startswith(("_", ".")) for part in file.relative_to(bars_dir).parts)
