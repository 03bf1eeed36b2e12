"""Bars from a file: CSV, CSV.gz or Parquet with `time,open,high,low,close,volumefrom,volumeto`.

`time` is unix seconds UTC of the bar's start; `volumeto` (quote volume) may be empty or missing.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from conf.errors import ConfigurationError
from conf.timeframes import TIMEFRAME_MS
from ingest.bar import QUOTE_VOLUME_RULE, RULES, Bar

log = logging.getLogger(__name__)

REQUIRED: Final = ("time", "open", "high", "low", "close", "volumefrom")
OPTIONAL: Final = "volumeto"
FIELDS: Final = {"volumefrom": "base_volume", "volumeto": "quote_volume"}
# Rows that are checked together; enough to make the check cheap, few enough to start at once.
BLOCK_ROWS: Final = 8_192

Refuse = Callable[[Bar, str], None]


@dataclass(frozen=True, slots=True)
class Recording:
    """One file of bars of one symbol at one interval."""

    path: Path
    symbol: str
    interval: str


def read_bars(
    path: Path | str,
    symbol: str,
    timeframe: str,
    *,
    now_ms: int = 2**62,
    on_refused: Refuse | None = None,
) -> Iterator[Bar]:
    """Yield the file's good bars in the file's order.

    A bar that breaks a rule goes to `on_refused` with the reason; without one it is logged.
    `fetched_at` is the bar's close time: what a live source would have shown at the earliest.
    `now_ms` (epoch ms) is when a bar counts as in the future. Raises ConfigurationError where the
    file is missing, is none of the three kinds, or lacks a column.
    """
    if timeframe not in TIMEFRAME_MS:
        raise ConfigurationError(f"interval {timeframe!r} is none of {', '.join(TIMEFRAME_MS)}")
    refuse = on_refused or _log_refused
    source = f"recorded:{Path(path).name}"
    for block in _read_table(Path(path)).to_batches(max_chunksize=BLOCK_ROWS):
        yield from _bars_of(block, symbol, timeframe, source, now_ms, refuse)


def _read_table(path: Path) -> pa.Table:
    try:
        read = pa.parquet.read_table if path.suffix == ".parquet" else pa.csv.read_csv
        table = read(path)
    except FileNotFoundError as error:
        raise ConfigurationError(f"recorded file {path} does not exist") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise ConfigurationError(f"recorded file {path} can't be read: {error}") from error
    missing = [name for name in REQUIRED if name not in table.column_names]
    if missing:
        raise ConfigurationError(
            f"file {path} lacks {', '.join(missing)}: found {', '.join(table.column_names)}"
        )
    names = [*REQUIRED, *([OPTIONAL] if OPTIONAL in table.column_names else [])]
    schema = pa.schema([(n, pa.int64() if n == "time" else pa.float64()) for n in names])
    try:
        return table.select(names).cast(schema)
    except pa.ArrowInvalid as error:
        raise ConfigurationError(f"recorded file {path} holds no numbers: {error}") from error


def _bars_of(
    block: pa.RecordBatch, symbol: str, timeframe: str, source: str, now_ms: int, refuse: Refuse
) -> Iterator[Bar]:
    columns = _columns(block, timeframe, now_ms)
    reasons = _reasons(columns)
    rows = zip(
        columns.open_time.tolist(),
        columns.open.tolist(),
        columns.high.tolist(),
        columns.low.tolist(),
        columns.close.tolist(),
        columns.base_volume.tolist(),
        _none_for_nan(columns.quote_volume, len(reasons)),
        reasons,
        strict=True,
    )
    bar_ms = columns.bar_ms
    for open_time, open_, high, low, close, base, quote, reason in rows:
        closed = open_time + bar_ms
        bar = Bar(
            symbol, timeframe, open_time, open_, high, low, close, base, quote, source, closed
        )
        if reason is None:
            yield bar
        else:
            refuse(bar, reason)


def _none_for_nan(values: Any, count: int) -> list[float | None]:
    if values is None:
        return [None] * count
    return [None if value != value else value for value in values.tolist()]


def _columns(block: pa.RecordBatch, timeframe: str, now_ms: int) -> SimpleNamespace:
    """A bar's fields as arrays `(n_rows,)`, under the names that the rules ask for."""

    def floats(name: str) -> Any:
        return block.column(name).to_numpy(zero_copy_only=False)

    columns = SimpleNamespace(bar_ms=TIMEFRAME_MS[timeframe], now_ms=now_ms)
    # A row without a time gets one that no grid has, so that it is refused by name.
    columns.open_time = block.column("time").fill_null(-1).to_numpy(zero_copy_only=False) * 1000
    for name in REQUIRED[1:]:
        setattr(columns, FIELDS.get(name, name), floats(name))
    columns.quote_volume = floats(OPTIONAL) if OPTIONAL in block.schema.names else None
    columns.fetched_at = columns.open_time + columns.bar_ms
    return columns


def _reasons(columns: SimpleNamespace) -> list[str | None]:
    """For each row the first rule that it breaks, or None."""
    reasons = np.full(len(columns.open_time), None, dtype=object)
    if columns.quote_volume is not None:
        reason, holds = QUOTE_VOLUME_RULE
        reasons[~(np.isnan(columns.quote_volume) | holds(columns))] = reason
    for reason, holds in reversed(RULES):
        reasons[~np.asarray(holds(columns))] = reason
    return list(reasons)


def _log_refused(bar: Bar, reason: str) -> None:
    log.warning(
        "event=bar_refused symbol=%s interval=%s open_time=%d reason=%r",
        *(bar.symbol, bar.interval, bar.open_time, reason),
    )
