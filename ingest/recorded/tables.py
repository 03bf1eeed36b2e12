"""The columns of a CSV or Parquet file, a block of rows at a time, by what they hold."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from ingest.recorded.cells import NOTHING
from ingest.recorded.content import encoding, mended, unpacked
from ingest.recorded.layout import WORDS, Layout, NoLayout, columns_at, missing, text_layout

# By what they hold, as in `Layout.at`.
Block = dict[str, pa.Array]

_HEAD_BYTES: Final = 1 << 16
_BLOCK_BYTES: Final = 1 << 22
_BLOCK_ROWS: Final = 1 << 16


@dataclass
class Lines:
    """Which lines of a text are no rows of its table.

    first: the first row's line, counted from 1. ragged: lines with another number of cells. notes:
    lines of words, such as a footer.
    """

    first: int = 1
    ragged: list[int] = field(default_factory=list)
    notes: list[int] = field(default_factory=list)


def parquet_blocks(file: Path, symbol: str) -> Iterator[Block]:
    """The blocks of a Parquet file; raises NoLayout."""
    with closing(pa.parquet.ParquetFile(file)) as parquet:
        names = parquet.schema_arrow.names
        at = columns_at(names, symbol)
        if lacking := missing(at):
            raise NoLayout(f"columns: lacks {', '.join(lacking)}; found {', '.join(names)[:120]}")
        for batch in parquet.iter_batches(_BLOCK_ROWS, columns=[names[at[what]] for what in at]):
            yield {what: _flat(batch.column(names[at[what]]), what) for what in at}


def text_blocks(file: Path, symbol: str, lines: Lines) -> Iterator[Block]:
    """The blocks of a CSV file, as texts; `lines` fills on the way. Raises NoLayout."""
    with unpacked(file) as stream:
        head = stream.read(_HEAD_BYTES)
        name, mark = encoding(head)
        if not head[mark:].strip():
            raise NoLayout("line 1: expected a header or a row; the file is empty")
        layout = text_layout(head[mark:].decode(name, errors="replace"), symbol)
        lines.first = layout.first_line
        stream.seek(mark)
        with _reader(mended(stream, name, layout.delimiter), layout, lines) as batches:
            for batch in batches:
                block = {what: batch.column(f"c{cell}") for what, cell in layout.at.items()}
                yield _swapped(block) if layout.comma else block


def _swapped(block: Block) -> Block:
    """Numbers with a point before their decimals, commas between thousands, for the opposite."""
    swapped = dict(block)
    for what in block.keys() - set(WORDS):
        for sign, other in ((".", "\n"), (",", "."), ("\n", ",")):
            swapped[what] = pc.replace_substring(swapped[what], sign, other)
    return swapped


def _reader(text: pa.NativeFile, layout: Layout, lines: Lines) -> "pa.csv.CSVStreamingReader":
    def leave_out(row: pa.csv.InvalidRow) -> str:
        (lines.notes if _is_note(row.text, layout.delimiter) else lines.ragged).append(row.number)
        return "skip"

    used = [f"c{cell}" for cell in sorted(set(layout.at.values()))]
    return pa.csv.open_csv(
        text,
        pa.csv.ReadOptions(
            use_threads=False,  # or rows have no numbers
            block_size=_BLOCK_BYTES,
            skip_rows=layout.first_line - 1,
            column_names=[f"c{cell}" for cell in range(layout.cells)],
        ),
        pa.csv.ParseOptions(
            delimiter=layout.delimiter, invalid_row_handler=leave_out, ignore_empty_lines=False
        ),
        pa.csv.ConvertOptions(
            include_columns=used,
            column_types=dict.fromkeys(used, pa.string()),
            null_values=list(NOTHING),
            strings_can_be_null=True,
        ),
    )


def _is_note(line: str, delimiter: str) -> bool:
    """Whether a line among the rows is words, not a part of a row."""
    text = line.strip()
    return text.startswith("#") or (delimiter not in text and not text[:1].isdigit())


def _flat(column: pa.Array, what: str) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _flat(column.dictionary_decode(), what)
    if pa.types.is_decimal(kind):
        return column.cast(pa.float64())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column.cast(pa.string())
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)
    if number or (what == "time" and (pa.types.is_timestamp(kind) or pa.types.is_date(kind))):
        return column
    raise NoLayout(f"column {what}: expected numbers, times or texts; found {kind}")
