"""Series out of the table `bars` of the warehouse."""

from pathlib import Path
from typing import Final

from conf.errors import NotEnoughBars
from model.series import Series, on_grid
from store.files import committed
from store.views import read_sql

_VALUES: Final = ["open", "high", "low", "close", "base_volume", "quote_volume"]
_BARS: Final = f"""
    SELECT symbol, epoch_ms(open_time) AS open_time, {", ".join(_VALUES)} FROM bars
    WHERE interval = $timeframe AND ($until IS NULL OR epoch_ms(open_time) < $until)
      AND ($symbols IS NULL OR list_contains($symbols::VARCHAR[], symbol))
    ORDER BY symbol, open_time
"""


def read_warehouse(
    warehouse_dir: Path,
    timeframe: str,
    symbols: list[str] | None = None,
    until_ms: int | None = None,
) -> list[Series]:
    """Read the newest version of each archived bar, a series a symbol.

    `until_ms` (epoch ms, exclusive) bounds `open_time`; `symbols` None means all that are there.
    Raises NotEnoughBars where there is nothing to read yet.
    """
    if not committed(warehouse_dir, "bars"):
        raise NotEnoughBars(f"no bars in {warehouse_dir}: run the stream or `--data FILE` first")
    chosen = {"timeframe": timeframe, "until": until_ms, "symbols": symbols}
    bars = read_sql(warehouse_dir, _BARS, chosen)
    found = {str(name): rows for name, rows in bars.groupby("symbol")}
    names = sorted(found) if symbols is None else symbols
    if missing := [name for name in names if name not in found]:
        raise NotEnoughBars(f"no {timeframe} bars of {missing[0]} in {warehouse_dir} yet")
    if not names:
        raise NotEnoughBars(f"no {timeframe} bars in {warehouse_dir} yet")
    return [
        on_grid(name, timeframe, rows["open_time"].tolist(), rows[_VALUES].to_numpy(float))
        for name, rows in ((name, found[name]) for name in names)
    ]
