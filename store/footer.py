"""What a Parquet file says of itself: whether it is one, its columns, and the values they have."""

import json
import logging
import os
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from conf.events import event
from store.schema import COUNT, FLAG, NUMBER, SMALL, TEXT, TIME, Table

log = logging.getLogger(__name__)

Stamp = tuple[int, int]  # size in bytes, time of the last change in ns
GONE: Final[Stamp] = (-1, -1)


@dataclass(frozen=True, slots=True)
class File:
    """A Parquet file that holds rows of a table.

    columns: those of the table that it has, with their types. newest_ms: no row is of a later time
    (epoch ms UTC); None where the file does not tell. rows: how many it holds.
    """

    path: str
    stamp: Stamp
    columns: tuple[tuple[str, str], ...]
    newest_ms: int | None
    rows: int


class Unreadable(Exception):
    """Why a file is left aside."""


def stamp_of(path: str) -> Stamp:
    """By what a file is known to be the same as before; GONE where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return GONE
    return found.st_size, found.st_mtime_ns


def read_footer(path: str, stamp: Stamp, table: Table) -> File:
    """What a file has of a table; raises Unreadable with the reason where it can't be read."""
    if not os.path.isfile(path):
        raise Unreadable("it is no file")
    try:
        found = pq.read_metadata(path)
        schema = found.schema.to_arrow_schema()
        columns = _columns(table, schema, found)
        newest_ms = _look_at_values(path, table, found)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise Unreadable((str(error).splitlines() or [type(error).__name__])[0]) from error
    return File(path, stamp, columns, newest_ms, found.num_rows)


def _columns(
    table: Table, schema: pa.Schema, found: pq.FileMetaData
) -> tuple[tuple[str, str], ...]:
    lower = Counter(name.lower() for name in schema.names)
    columns = []
    for name, kind in table.columns.items():
        if lower[name] > 1:  # both engines take names for the same that differ in case alone
            raise Unreadable(f"column {name} stands there {lower[name]} times")
        if name in schema.names:
            held = schema.field(name).type
            if not _fits(held, kind) or _is_new_ns(found, name, held):
                raise Unreadable(f"column {name} is {held}, not {kind}")
            columns.append((name, str(held)))
        elif name in table.required:
            raise Unreadable(f"column {name} is missing")
    return tuple(columns)


def _fits(held: pa.DataType, kind: pa.DataType) -> bool:
    """Whether both engines can make a column of a table of what a file holds."""
    held = held.value_type if pa.types.is_dictionary(held) else held
    if kind == TEXT:
        return bool(pa.types.is_string(held) or pa.types.is_large_string(held))
    if kind in (SMALL, COUNT):
        return bool(pa.types.is_integer(held))
    if kind == NUMBER:
        return bool(pa.types.is_floating(held) or pa.types.is_integer(held))
    if kind == TIME:
        return bool(pa.types.is_timestamp(held))
    return bool(kind == FLAG and pa.types.is_boolean(held))


def _is_new_ns(found: pq.FileMetaData, name: str, held: pa.DataType) -> bool:
    """Whether a column has times in ns: Spark reads those in the old form INT96 alone."""
    if not (pa.types.is_timestamp(held) and held.unit == "ns"):
        return False
    place = found.schema.names.index(name)
    return bool(found.schema.column(place).physical_type != "INT96")


def _look_at_values(path: str, table: Table, found: pq.FileMetaData) -> int | None:
    """The newest time in a file (epoch ms); names in the log what the views leave out of it."""
    newest: list[int | None] = []
    reasons: dict[str, None] = {}
    for group in range(found.num_row_groups):
        row_group = found.row_group(group)
        for place in range(row_group.num_columns):
            column = row_group.column(place)
            name, held = column.path_in_schema, column.statistics
            if name == table.time:
                newest.append(None)
            if name not in table.columns or held is None:
                continue
            if name in table.required and held.has_null_count and held.null_count:
                reasons[f"{name} is missing"] = None
            if held.has_min_max:
                low, high = _plain(held.min_raw, column), _plain(held.max_raw, column)
                if not (table.allows(name, low) and table.allows(name, high)):
                    reasons[f"{name} from {low!r:.40} to {high!r:.40}"] = None
                if name == table.time:
                    newest[-1] = high
    if reasons:
        why = "; ".join(reasons)
        event(log, "rows_left_out", level=logging.WARNING, file=path, reason=why)
    known = [time for time in newest if time is not None]
    return max(known, default=0) if len(known) == len(newest) else None


def _plain(raw: Any, column: pq.ColumnChunkMetaData) -> Any:
    """A value of statistics: times as epoch ms, texts as such."""
    kind = column.statistics.logical_type.type
    if kind == "TIMESTAMP":
        unit = json.loads(column.statistics.logical_type.to_json())["timeUnit"]
        return raw // {"milliseconds": 1, "microseconds": 1_000, "nanoseconds": 10**6}[unit]
    return raw.decode(errors="replace") if isinstance(raw, bytes) else raw
