"""Series out of the table `bars` of the warehouse."""

from pathlib import Path
from typing import Final

from conf.errors import NotEnoughBars
from conf.settings import Settings
from model.leaders import with_leaders
from model.series import VALUES, Series, on_grid
from store.files import committed
from store.views import read_sql

_CHOSEN: Final = """
    interval = $timeframe AND ($until IS NULL OR epoch_ms(open_time) < $until)
    AND ($symbols IS NULL OR list_contains($symbols::VARCHAR[], symbol))
"""
_BARS: Final = f"""
    SELECT symbol, epoch_ms(open_time) AS open_time, {", ".join(VALUES)} FROM bars
    WHERE open_time > make_timestamp({{after}}) AND {_CHOSEN}
    ORDER BY symbol, open_time
"""
# The newest bar that is one too many: one column is read for it.
_AFTER: Final = f"""
    SELECT epoch_us(open_time) AS at FROM bars_raw WHERE {_CHOSEN}
    ORDER BY open_time DESC LIMIT 1 OFFSET {{max_bars}}
"""
_NEVER: Final = -(2**62)


def read_polled(
    settings: Settings,
    timeframe: str,
    symbols: list[str] | None = None,
    until_ms: int | None = None,
) -> list[Series]:
    """Read what a model is trained on and judged by: the newest `training.max_bars` archived bars
    of `symbols`, or of those that ingest polls at this timeframe, with those of their leaders.

    A symbol that is polled and has no bars yet is left out, and so are bars that nobody asks for.
    Raises NotEnoughBars where none is left, or one of `symbols` has none.
    """
    folder, max_bars = settings.warehouse.folder, settings.training.max_bars
    if symbols is None:
        there = _archived(folder, timeframe)
        polled = settings.ingest.symbols_of(timeframe)
        named = {name.casefold() for name in polled}
        symbols = [name for name in there if name.casefold() in named]
        if there and not symbols:
            raise NotEnoughBars(
                f"no {timeframe} bars of {', '.join(polled) or 'any symbol'} in {folder}, only of "
                f"{', '.join(there[:5])}: set ingest.symbols, or name some with --symbols"
            )
    series = read_warehouse(folder, timeframe, symbols, until_ms, max_bars)
    leaders = {name for one in symbols for name in settings.market.of(one)}.difference(symbols)
    others = [name for name in _archived(folder, timeframe) if name in leaders] if leaders else []
    led_by = read_warehouse(folder, timeframe, others, until_ms, max_bars) if others else []
    return with_leaders(series, settings.market.of, led_by)


def _archived(warehouse_dir: Path, timeframe: str) -> list[str]:
    query = "SELECT DISTINCT symbol FROM bars_raw WHERE interval = ? ORDER BY symbol"
    return [str(name) for name in read_sql(warehouse_dir, query, [timeframe])["symbol"]]


def read_warehouse(
    warehouse_dir: Path,
    timeframe: str,
    symbols: list[str] | None = None,
    until_ms: int | None = None,
    max_bars: int | None = None,
) -> list[Series]:
    """Read the newest version of each archived bar, a series a symbol.

    `until_ms` (epoch ms, exclusive) bounds `open_time`; `symbols` None means all that are there;
    `max_bars` bounds the bars of all series together, the newest count. Raises NotEnoughBars where
    there is nothing to read yet.
    """
    if not committed(warehouse_dir, "bars"):
        raise NotEnoughBars(f"no bars in {warehouse_dir}: run the stream or `--data FILE` first")
    chosen = {"timeframe": timeframe, "until": until_ms, "symbols": symbols}
    after = _NEVER
    if max_bars is not None:
        too_old = read_sql(warehouse_dir, _AFTER.format(max_bars=max_bars), chosen)
        after = max(too_old["at"].astype(int), default=_NEVER)
    bars = read_sql(warehouse_dir, _BARS.format(after=after), chosen)
    found = {str(name): rows for name, rows in bars.groupby("symbol")}
    names = sorted(found) if symbols is None else symbols
    if missing := [name for name in names if name not in found]:
        raise NotEnoughBars(f"no {timeframe} bars of {missing[0]} in {warehouse_dir} yet")
    if not names:
        raise NotEnoughBars(f"no {timeframe} bars in {warehouse_dir} yet")
    return [
        on_grid(name, timeframe, rows["open_time"].to_numpy(), rows[list(VALUES)].to_numpy(float))
        for name, rows in ((name, found[name]) for name in names)
    ]
