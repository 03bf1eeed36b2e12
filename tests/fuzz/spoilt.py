"""A warehouse with good files and, between them, what power cuts, strangers and others leave."""

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from store.files import BATCH
from store.schema import TABLES

EVIL_SYMBOL: Final = "EVIL-USD"
ABSURD: Final = (float("nan"), float("inf"), -float("inf"), 0.0, -1.0, 5e-324, 1e308)
NAMES: Final = (
    *("", "x/y", "day-2024-13-45-0", "day-2024-01-01", "day--0", "q-", "q-x", "..", "%2F", "a b"),
    *("q-99999999999999999999", "é-1", "a'b", "[x]", "{x}", "*", "q-1;DROP", "null"),
)


def spoil(warehouse: Path, count: int, seed: int) -> list[Path]:
    """Put `count` spoilt files beside the good ones; returns them.

    None holds a row of a good series that could be read: what is changed is of another symbol.
    """
    random = Random(seed)
    good = {
        name: sorted((warehouse / name).glob(f"{BATCH}*/*.parquet"))
        for name in TABLES
        if (warehouse / name).is_dir()
    }
    made = []
    for number in range(count):
        name = random.choice([name for name, files in good.items() if files])
        source = random.choice(good[name])
        file = warehouse / name / f"{BATCH}spoilt-{number}" / "part-0.parquet"
        file.parent.mkdir(parents=True)
        random.choice(KINDS)(random, source, file)
        made.append(file)
    for number, name in enumerate(NAMES):
        made += odd_place(warehouse / random.choice(list(good)), name, number)
    return made


def cut(random: Random, source: Path, file: Path) -> None:
    whole = source.read_bytes()
    file.write_bytes(whole[: random.randrange(len(whole))])


def flipped(random: Random, source: Path, file: Path) -> None:
    """Bytes of the footer, at the end, differ: what the file says of itself is wrong."""
    evil(random, source, file)
    whole = bytearray(file.read_bytes())
    for _ in range(random.randrange(1, 20)):
        whole[-random.randrange(1, min(len(whole), 400))] = random.randrange(256)
    file.write_bytes(bytes(whole))


def empty(random: Random, source: Path, file: Path) -> None:
    file.write_bytes(b"")


def text(random: Random, source: Path, file: Path) -> None:
    file.write_bytes(random.choice([b"PAR1", b"PAR1PAR1", b"symbol,close\n", bytes(5_000)]))


def without_rows(random: Random, source: Path, file: Path) -> None:
    pq.write_table(read(source).slice(0, 0), file)


def evil(random: Random, source: Path, file: Path) -> None:
    """Good rows, of another symbol."""
    pq.write_table(renamed(read(source).slice(0, 50)), file)


def absurd(random: Random, source: Path, file: Path) -> None:
    """One column of numbers has absurd values."""
    rows = renamed(read(source).slice(0, 50))
    numbers = [f.name for f in rows.schema if pa.types.is_floating(f.type)]
    if numbers:
        name = random.choice(numbers)
        place = rows.schema.get_field_index(name)
        values = [random.choice(ABSURD) for _ in range(len(rows))]
        rows = rows.set_column(place, name, pa.array(values, pa.float64()))
    pq.write_table(rows, file)


def other_times(random: Random, source: Path, file: Path) -> None:
    """One column of times is of 1970, or of a year with five digits."""
    rows = renamed(read(source).slice(0, 50))
    times = [field for field in rows.schema if pa.types.is_timestamp(field.type)]
    if times:
        field = random.choice(times)
        value = random.choice((0, 1, 2**60, -(2**55)))
        column = pa.array(np.full(len(rows), value), pa.int64()).cast(field.type)
        rows = rows.set_column(rows.schema.get_field_index(field.name), field.name, column)
    pq.write_table(rows, file)


def column_less(random: Random, source: Path, file: Path) -> None:
    rows = renamed(read(source).slice(0, 50))
    pq.write_table(rows.drop_columns(random.choice(rows.column_names)), file)


def column_more(random: Random, source: Path, file: Path) -> None:
    rows = renamed(read(source).slice(0, 50))
    pq.write_table(rows.append_column("more", pa.array(range(len(rows)))), file)


def other_type(random: Random, source: Path, file: Path) -> None:
    rows = renamed(read(source).slice(0, 50))
    place = random.randrange(rows.num_columns)
    values = random.choice(
        [
            pa.array(["x"] * len(rows)),
            pa.array([[1.0]] * len(rows)),
            pa.array([True] * len(rows)),
            pa.nulls(len(rows)),
            pa.array([{"a": 1}] * len(rows)),
            pa.array(range(len(rows)), pa.int8()),
        ]
    )
    pq.write_table(rows.set_column(place, rows.column_names[place], values), file)


def folder_for_a_file(random: Random, source: Path, file: Path) -> None:
    file.mkdir()


def link_to_nowhere(random: Random, source: Path, file: Path) -> None:
    file.symlink_to("/nowhere/part-0.parquet")


KINDS: Final[tuple[Callable[[Random, Path, Path], None], ...]] = (
    *(cut, cut, flipped, empty, text, without_rows, absurd, other_times),
    *(column_less, column_more, other_type, folder_for_a_file, link_to_nowhere),
)


def odd_place(table: Path, name: str, number: int) -> list[Path]:
    """A file in a folder with a name that nobody gives; readable, and of another symbol."""
    sources = sorted(table.glob(f"{BATCH}*/*.parquet"))
    good = next((s for s in sources if s.is_file() and "spoilt" not in str(s)), None)
    if good is None:
        return []
    folder = table / (f"{BATCH}{name}" if number % 3 else f"odd-{number}")
    if folder.resolve().parent != table.resolve() and "/" not in name:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / random_name(number)
    pq.write_table(renamed(read(good).slice(0, 5)), file)
    return [file]


def random_name(number: int) -> str:
    return ("part-0.parquet", "part.parquet.tmp", ".hidden.parquet", "x.parquet")[number % 4]


def read(file: Path) -> pa.Table:
    """The columns of a file alone, without those of its folder's name."""
    return pq.ParquetFile(file).read()


def renamed(rows: pa.Table) -> pa.Table:
    """The same rows of another symbol, where they have one."""
    if "symbol" not in rows.column_names:
        return rows
    place = rows.column_names.index("symbol")
    return rows.set_column(place, "symbol", pa.array([EVIL_SYMBOL] * len(rows)))


def copy(warehouse: Path, to: Path) -> Path:
    """A copy of a warehouse."""
    shutil.copytree(warehouse, to, symlinks=True)
    return to
