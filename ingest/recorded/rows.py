"""A file brought into columns, row by row as it stands there; nothing is judged yet."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from conf.errors import ConfigurationError
from conf.symbol import market_of
from ingest.bar import OPTIONAL
from ingest.recorded.cells import Floats, numbers
from ingest.recorded.content import is_parquet, readable
from ingest.recorded.layout import NoLayout
from ingest.recorded.tables import Block, Lines, parquet_blocks, text_blocks
from ingest.recorded.times import (
    NO_TIME,
    Ambiguous,
    Times,
    is_unix,
    stamps,
    unix_numbers,
    unix_texts,
    written_times,
)

# The values of a bar under the names that its rules ask for, and what columns hold them as.
VALUES: Final = {
    **{name: name for name in ("open", "high", "low", "close")},
    "base_volume": "volume",
    **{name: name for name in OPTIONAL},
}


@dataclass
class Rows:
    """Columns (n_rows,) of a file, in its order.

    line: where the row stands, counted from 1: a line of a text, a row of Parquet. open_time: epoch
    ms UTC, -1 where there is none. values: by name as in `VALUES`, NaN where there is none. ragged:
    whether the row has another number of cells than the others.
    """

    line: NDArray[np.int32]
    open_time: Times
    values: dict[str, Floats]
    ragged: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.line)

    def at(self, rows: NDArray[Any] | slice) -> "Rows":
        """These rows alone, by mask, indices or slice."""
        values = {name: column[rows] for name, column in self.values.items()}
        return Rows(self.line[rows], self.open_time[rows], values, self.ragged[rows])


def read_rows(file: Path, symbol: str, timeframe: str | None) -> Rows:
    """Read a file of any of the forms that docs/ingest.md lists.

    Where a column names several symbols or timeframes, the rows of those asked for; rows without
    any price, as sites fill a gap, are left out. Raises ConfigurationError where the file is
    missing, damaged or of another form.
    """
    lines = Lines()
    try:
        with readable(file):
            parquet = is_parquet(file)
            blocks = parquet_blocks(file, symbol) if parquet else text_blocks(file, symbol, lines)
            return _gathered(
                blocks, lines, {"symbol": (symbol, market_of(symbol)), "interval": (timeframe,)}
            )
    except NoLayout as error:
        raise ConfigurationError(f"recorded file {file}, {error}") from error
    except Ambiguous as error:
        raise ConfigurationError(
            f"recorded file {file}: {error} may have the day or the month first; expected dates "
            "such as 2021-02-01"
        ) from error


def _gathered(
    blocks: Iterable[Block], lines: Lines, asked: Mapping[str, Sequence[str | None]]
) -> Rows:
    times: list[Times | pa.Array] = []
    values: dict[str, list[Floats]] = {name: [] for name in VALUES}
    names = {what: _Names() for what in asked}
    for block in blocks:
        times.append(_times(block, times))
        for name, what in VALUES.items():
            values[name].append(_values(block, what))
        for what in asked.keys() & block.keys():
            names[what].add(block[what])
    open_time = _joined(times)
    n_rows = len(open_time)
    columns = {name: np.concatenate([*values.pop(name), []]) for name in VALUES}
    left_out = np.array([*lines.ragged, *lines.notes], np.int32)
    number = np.arange(lines.first, lines.first + n_rows + len(left_out), dtype=np.int32)
    number = np.delete(number, left_out - lines.first)
    rows = Rows(number, open_time, columns, np.zeros(n_rows, bool))
    kept = ~np.logical_and.reduce([np.isnan(columns[name]) for name in list(VALUES)[:4]])
    for what, found in names.items():
        kept &= found.chosen(what, asked[what], n_rows)
    return _with_ragged(rows if kept.all() else rows.at(kept), lines.ragged)


def _with_ragged(rows: Rows, ragged: list[int]) -> Rows:
    if not ragged:
        return rows
    nothing = np.full(len(ragged), np.nan)
    return Rows(
        np.concatenate([rows.line, np.array(ragged, np.int32)]),
        np.concatenate([rows.open_time, np.full(len(ragged), NO_TIME)]),
        {name: np.concatenate([column, nothing]) for name, column in rows.values.items()},
        np.concatenate([rows.ragged, np.ones(len(ragged), bool)]),
    )


def _values(block: Block, what: str) -> Floats:
    return numbers(block[what]) if what in block else np.full(len(block["time"]), np.nan)


def _times(block: Block, before: list[Times | pa.Array]) -> Times | pa.Array:
    """A block's times; texts of dates stay texts until the whole file tells their form."""
    column, kind = block["time"], block["time"].type
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return stamps(column.cast(pa.timestamp("ms")) if pa.types.is_date(kind) else column)
    if not pa.types.is_string(kind):
        return unix_numbers(column)
    texts = pc.utf8_trim_whitespace(column)
    if "clock" in block:
        return pc.binary_join_element_wise(texts, pc.utf8_trim_whitespace(block["clock"]), " ")
    unix = isinstance(before[0], np.ndarray) if before else is_unix(texts)
    return unix_texts(texts) if unix else texts


def _joined(times: list[Times | pa.Array]) -> Times:
    if times and isinstance(times[0], pa.Array):
        return written_times(pa.chunked_array(times))
    return np.concatenate([*times, np.array([], np.int64)])


class _Names:
    """What a column of names holds: a number for each name, and each row's number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._of_rows: list[NDArray[np.int32]] = []

    def add(self, column: pa.Array) -> None:
        """A block's column."""
        texts = pc.utf8_trim_whitespace(column.cast(pa.string()).fill_null(""))
        coded, known = texts.dictionary_encode(), self._numbers
        names = coded.dictionary.to_pylist()
        ours = np.array([known.setdefault(name, len(known)) for name in names], np.int32)
        self._of_rows.append(ours[coded.indices.to_numpy()])

    def chosen(self, what: str, asked: Sequence[str | None], n_rows: int) -> NDArray[np.bool_]:
        """Which rows are those asked for: all of them where there is one name only.

        Of the names `asked` the first counts that is there; or else what differs in case and
        punctuation alone. Raises NoLayout where that is nothing, or several names.
        """
        named = sorted(self._numbers.keys() - {""})
        if len(named) < 2:
            return np.ones(n_rows, bool)
        plain = {_plain(name) for name in asked if name}
        alike = [name for name in asked if name in named][:1]
        alike = alike or [name for name in named if _plain(name) in plain]
        if len(alike) != 1:
            found = ", ".join(alike or named[:5])
            raise NoLayout(
                f"column {what}: expected {asked[0] or 'one'} among several, found {found}"
            )
        return np.asarray(np.concatenate(self._of_rows) == self._numbers[alike[0]])


def _plain(name: str) -> str:
    """A name without case and punctuation; 1M stays, since that is a month."""
    return re.sub(r"[\W_]", "", name if re.fullmatch(r"\d+M", name) else name.casefold())
