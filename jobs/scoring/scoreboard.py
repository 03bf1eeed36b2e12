"""The scoreboard: how good the predictions of each series are, over each span of time.

A span ends at the newest target time of its interval that has an actual price, so that recorded
bars have spans too. Between the beginnings of spans, whole blocks are read as sums; rows are read
only of the blocks that a beginning cuts, and of the newest.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.scoring.arima import add_arima
from jobs.scoring.blocks import Blocks, all_blocks, close_blocks
from jobs.scoring.kept import DAY_MS, KEY, NewFile, new_files, opened, take_in, transaction
from jobs.scoring.sums import Sums
from store.files import replace_rows
from store.schema import SCORES, SPANS
from store.views import open_duckdb, paths_of

_LENGTHS_MS: Final = [int(length) for length in SPANS.values() if np.isfinite(length)]


def update_scores(warehouse_dir: Path) -> pd.DataFrame:
    """Score every prediction whose target time has passed; write the table `scores` anew."""
    take_in_all(warehouse_dir)
    return write_scores(warehouse_dir)


def take_in_all(warehouse_dir: Path) -> None:
    """Keep what is new in the warehouse; costs nothing where nothing is."""
    for files in new_files(warehouse_dir):
        keep_outcomes(warehouse_dir, files, with_arima=False)


def update_arima(warehouse_dir: Path) -> int:
    """Take in what is new, with the forecasts of ARIMA that it lacks; returns how many came."""
    added = 0
    for files in new_files(warehouse_dir):
        added += keep_outcomes(warehouse_dir, files, with_arima=True)
    with opened(warehouse_dir) as connection, transaction(connection):
        return added + add_arima(connection, warehouse_dir)


def keep_outcomes(warehouse_dir: Path, files: list[NewFile], with_arima: bool) -> int:
    """Take in some new files, all or nothing of them, and close the blocks that are a week old.

    Returns how many forecasts of ARIMA were added.
    """
    with opened(warehouse_dir, files) as connection, transaction(connection):
        take_in(connection, files, int(time.time() * 1000) + DAY_MS)
        added = add_arima(connection, warehouse_dir) if with_arima else 0
        close_blocks(connection)
    return added


def write_scores(warehouse_dir: Path) -> pd.DataFrame:
    """The scoreboard of all that is kept, written as the table `scores`."""
    with opened(warehouse_dir) as connection, transaction(connection):
        boards = [board_of(blocks) for blocks in all_blocks(connection)]
    nothing = pd.DataFrame(columns=SCORES.stored.names)
    board: pd.DataFrame = pd.concat(boards) if boards else nothing
    board = board[SCORES.stored.names].sort_values([*KEY], ignore_index=True, kind="stable")
    for name in ("first_target", "last_target"):
        board[name] = pd.to_datetime(board[name].astype("int64"), unit="ms")
    replace_rows(warehouse_dir, SCORES, "newest", board)
    return board


def read_scores(warehouse_dir: Path) -> pd.DataFrame:
    """The scoreboard that was written last; no rows before the first."""
    files = paths_of(warehouse_dir, SCORES.name)
    with open_duckdb(warehouse_dir, files) as connection:
        found: pd.DataFrame = connection.execute(f"SELECT * FROM {SCORES.name}").df()
    return found


def board_of(blocks: Blocks) -> pd.DataFrame:
    """The rows of one interval and horizon, over each span that a series was scored in."""
    # The beginnings of all spans but the longest, the earliest first.
    cuts = np.array(sorted(blocks.until_ms - length for length in _LENGTHS_MS))
    parts = [blocks.none for _ in range(len(cuts) + 1)]
    parts[0] = blocks.totals()
    for _, part, sums in sorted(_pieces(blocks, cuts), key=lambda piece: piece[:2]):
        parts[part] = parts[part].then(sums)
    boards, span_sums = [], blocks.none
    for span, sums in zip(SPANS, parts[::-1], strict=True):
        span_sums = sums.then(span_sums)
        there = span_sums.plain["count"] > 0
        figures = span_sums.figures(blocks.horizon)
        chosen = pd.DataFrame({name: values[there] for name, values in figures.items()})
        keys = blocks.keys[there].reset_index(drop=True)
        boards.append(pd.concat([keys.assign(span=span), chosen], axis=1))
    return pd.concat(boards)


def _pieces(blocks: Blocks, cuts: NDArray[np.int64]) -> Iterator[tuple[int, int, Sums]]:
    """What makes up the spans: number of a block, number of cuts before, sums."""
    by_rows = {int(cut) // blocks.length_ms for cut in cuts if cut % blocks.length_ms}
    by_rows.add(blocks.block(blocks.until_ms))
    for block, sums in blocks.whole(by_rows).items():
        yield block, int(np.searchsorted(cuts, block * blocks.length_ms, "right")), sums
    rows = blocks.rows(sorted(by_rows))
    part = np.searchsorted(cuts, rows["target"], "left")
    for block, number in {*zip(rows["block"].tolist(), part.tolist(), strict=True)}:
        chosen = (rows["block"] == block) & (part == number)
        some: dict[str, Any] = {name: values[chosen] for name, values in rows.items()}
        yield block, number, Sums.of(some, some["run"], len(blocks.keys), blocks.horizon)
