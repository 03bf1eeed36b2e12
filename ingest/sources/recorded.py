"""Bars from a file: CSV, CSV.gz or Parquet with `time,open,high,low,close,volumefrom,volumeto`.

`time` is unix seconds UTC of the bar's start; `volumeto` (quote volume) may be empty or missing.
"""

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
from ingest.bar import QUOTE_VOLUME_RULE, RULES, Bar, log_rejected

REQUIRED: Final = ("time", "open", "high", "low", "close", "volumefrom")
OPTIONAL: Final = "volumeto"
# The columns under the names that the rules ask for.
FIELDS: Final = ("open_time", "open", "high", "low", "close", "base_volume", "quote_volume")
# Rows that are checked together; enough to make the check cheap, few enough to start at once.
BLOCK_ROWS: Final = 8_192


@dataclass(frozen=True, slots=True)
class Recording:
    """One file of bars of one symbol at one timeframe."""

    path: Path
    symbol: str
    interval: str


def read_bars(
    path: Path | str,
    symbol: str,
    timeframe: str,
    *,
    now_ms: int = 2**62,
    earliest_ms: int = 0,
    on_rejected: Callable[[Bar, str], None] = log_rejected,
) -> Iterator[Bar]:
    """Yield the file's good bars in the file's order.

    A bar that breaks a rule goes to `on_rejected` with the reason; without one it is logged.
    `fetched_at` is the bar's close time: what a live source would have shown at the earliest.
    `now_ms` (epoch ms) is when a bar counts as in the future; `earliest_ms` before
    when none may open. Raises ConfigurationError where the
    file is missing, is none of the three kinds, or lacks a column.
    """
    if timeframe not in TIMEFRAME_MS:
        raise ConfigurationError(f"interval {timeframe!r} is none of {', '.join(TIMEFRAME_MS)}")
    bar_ms = TIMEFRAME_MS[timeframe]
    source = f"recorded:{Path(path).name}"
    for block in _read_table(Path(path)).to_batches(max_chunksize=BLOCK_ROWS):
        columns = dict(zip(FIELDS, _arrays(block), strict=True))
        reasons = _reasons(columns, bar_ms, now_ms, earliest_ms)
        rows = zip(*(column.tolist() for column in columns.values()), reasons, strict=True)
        for open_time, open_, high, low, close, base, quote, reason in rows:
            known = None if quote != quote else quote  # NaN is how Arrow says that there is none
            bar = Bar(
                *(symbol, timeframe, open_time, open_, high, low, close, base, known),
                *(source, open_time + bar_ms),
            )
            if reason is None:
                yield bar
            else:
                on_rejected(bar, reason)


def _read_table(path: Path) -> pa.Table:
    """The file's columns that are used, as numbers: `time` int64, the others float64."""
    try:
        table = (pa.parquet.read_table if path.suffix == ".parquet" else pa.csv.read_csv)(path)
    except FileNotFoundError as error:
        raise ConfigurationError(f"recorded file {path} does not exist") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise ConfigurationError(f"recorded file {path} can't be read: {error}") from error
    missing = [name for name in REQUIRED if name not in table.column_names]
    if missing:
        raise ConfigurationError(
            f"file {path} lacks {', '.join(missing)}: found {', '.join(table.column_names)}"
        )
    if OPTIONAL not in table.column_names:
        table = table.append_column(OPTIONAL, pa.nulls(len(table)))
    kinds = [(name, pa.float64()) for name in (*REQUIRED[1:], OPTIONAL)]
    schema = pa.schema([("time", pa.int64()), *kinds])
    try:
        return table.select(schema.names).cast(schema)
    except pa.ArrowInvalid as error:
        raise ConfigurationError(f"recorded file {path} holds no numbers: {error}") from error


def _arrays(block: pa.RecordBatch) -> Iterator[Any]:
    """The columns as arrays `(n_rows,)`, times in ms."""
    # A row without a time gets one that no grid has, so that it is rejected by name.
    yield block.column("time").fill_null(-1).to_numpy(zero_copy_only=False) * 1000
    for column in block.columns[1:]:
        yield column.to_numpy(zero_copy_only=False)


def _reasons(
    columns: dict[str, Any], bar_ms: int, now_ms: int, earliest_ms: int
) -> list[str | None]:
    """For each row the first rule that it breaks, or None."""
    fetched_at = columns["open_time"] + bar_ms
    times = {"bar_ms": bar_ms, "now_ms": now_ms, "earliest_ms": earliest_ms}
    bars = SimpleNamespace(**columns, fetched_at=fetched_at, **times)
    reasons = np.full(len(fetched_at), None, dtype=object)
    reason, holds = QUOTE_VOLUME_RULE
    reasons[~(np.isnan(bars.quote_volume) | holds(bars))] = reason
    for reason, holds in reversed(RULES):
        reasons[~np.asarray(holds(bars))] = reason
    return list(reasons)
