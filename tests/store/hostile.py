"""A warehouse as power cuts, strangers and other versions leave it."""

import os
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tests.tables import bars, predictions, write

CLOSE: Final = [100.0, 101.0, 102.0, 101.0]
# Each stands in a file of its own, which is left aside.
BAD_FILES: Final = (
    "cut",
    "empty",
    "zeros",
    "text",
    "no file",
    "a pipe",
    "a column is missing",
    "another type",
    "a list",
    "times as numbers",
    "names twice",
)
# In these some rows are none; the others count.
ABSURD_ROWS: Final = (
    "interval is unknown",
    "no symbol",
    "price zero",
    "price negative",
    "price NaN",
    "price infinite",
    "price denormal",
    "the year 50000",
    "before 1970",
)


def good(warehouse: Path) -> None:
    """Four bars of a symbol, in a file each, and three predictions."""
    rows = bars(CLOSE)
    for place in range(len(rows)):
        write(warehouse, "bars", rows.iloc[[place]], f"good-{place}")
    write(warehouse, "predictions", predictions(CLOSE, CLOSE[1:]), "good")


def place(warehouse: Path, table: str, name: str) -> Path:
    folder = warehouse / table / f"batch={name}"
    folder.mkdir(parents=True)
    return folder / "part-0.parquet"


def add_bad_file(warehouse: Path, kind: str) -> Path:
    """A file of bars that can't be read."""
    rows = bars(CLOSE, symbol="BAD-USD")
    if kind in ("no file", "a pipe"):
        file = place(warehouse, "bars", kind)
        file.mkdir() if kind == "no file" else os.mkfifo(file)
        return file
    changed = {
        "a column is missing": rows.drop(columns="open_time"),
        "another type": rows.assign(close=[str(close) for close in CLOSE]),
        "a list": rows.assign(close=[[close] for close in CLOSE]),
        "times as numbers": rows.assign(open_time=range(4)),
        "names twice": rows.assign(CLOSE=CLOSE),
    }
    write(warehouse, "bars", changed.get(kind, rows), kind)
    file = warehouse / "bars" / f"batch={kind}" / "part-0.parquet"
    content = file.read_bytes()
    spoilt = {
        "cut": content[: len(content) // 2],
        "empty": b"",
        "zeros": bytes(len(content)),
        "text": b"PAR1 but only a text, PAR1",
    }
    file.write_bytes(spoilt.get(kind, content))
    return file


def add_damaged_pages(warehouse: Path, column: str) -> Path:
    """A file whose footer is whole, and some bytes of a column are not."""
    rows = bars([100.0 + i % 7 for i in range(2_000)], symbol="BAD-USD")
    file = place(warehouse, "bars", f"damaged-{column}")
    table = pa.Table.from_pandas(rows, preserve_index=False)
    pq.write_table(table, file, compression="zstd", coerce_timestamps="us")
    found = pq.read_metadata(file).row_group(0).column(rows.columns.get_loc(column))
    start = found.dictionary_page_offset or found.data_page_offset
    content = bytearray(file.read_bytes())
    for at in range(start, start + found.total_compressed_size):
        content[at] ^= 0xA5
    file.write_bytes(content)
    return file


def add_absurd_rows(warehouse: Path, kind: str) -> None:
    """A file with one good bar of a symbol, and one that is none."""
    rows = bars([100.0, 101.0], symbol="ODD-USD")
    second = [False, True]
    if kind == "interval is unknown":
        rows.loc[second, "interval"] = "7m"
    elif kind == "no symbol":
        rows.loc[second, "symbol"] = None
    elif kind.startswith("price"):
        absurd = {"zero": 0.0, "negative": -1.0, "NaN": np.nan, "infinite": np.inf}
        rows.loc[second, "close"] = absurd.get(kind.split()[1], 5e-324)
    else:
        years = {"the year 50000": 48_030 * 365, "before 1970": -60 * 365}
        rows["open_time"] = rows["open_time"].astype("datetime64[us]")
        rows.loc[second, "open_time"] += np.timedelta64(years[kind], "D").astype("timedelta64[us]")
    table = pa.Table.from_pandas(rows, preserve_index=False)
    closes = pa.array(rows["close"].to_list(), from_pandas=False)  # pandas would make NaN a null
    table = table.set_column(table.column_names.index("close"), "close", closes)
    pq.write_table(table, place(warehouse, "bars", "odd"), coerce_timestamps="us")


def before_there_was(column: str, warehouse: Path, table: str, rows: pd.DataFrame) -> None:
    """A file of an earlier version, which had no such column."""
    write(warehouse, table, rows.drop(columns=column), f"before-{column}")
