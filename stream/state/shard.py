"""The window state of one shard: all intervals, all symbols."""

import json
import struct
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conf.errors import DataLoss
from conf.timeframes import TIMEFRAME_MS
from model.series import VALUES
from stream.state.rings import Emission, NewBars, Rings, Slots, runs

STATE_VERSION: Final = 5
# What `Shard.take` reads of a bar.
CHANGE_COLUMNS: Final = [
    "symbol",
    "interval",
    "open_time",
    *VALUES,
    "fetched_at",
    "offset",
    "arrived_at",
]
_HEADER: Final = struct.Struct("<BIIII")  # version, lookback, late_bars, shards, bytes of names


@dataclass(frozen=True)
class Advance:
    """What a micro-batch's bars did to the series of one timeframe.

    symbols: the names of the series, by the rows of `emission`.
    """

    timeframe: str
    symbols: list[str]
    emission: Emission


@dataclass
class Shard:
    """The rings of one shard, by interval.

    shards: how many there are; with another number a series would be looked for in another shard
    than the one that holds its bars.
    """

    lookback: int
    late_bars: int
    shards: int
    rings: dict[str, Rings] = field(default_factory=dict)

    def of(self, timeframe: str) -> Rings:
        """The rings of an interval, made when it is new here."""
        return self.rings.setdefault(timeframe, Rings(self.lookback, self.late_bars))

    @property
    def nbytes(self) -> int:
        """About how many bytes `to_bytes` makes."""
        return sum(part.nbytes for rings in self.rings.values() for part in rings.slots.parts())

    def take(self, bars: pa.Table, silent_ms: int) -> list[Advance]:
        """Take checked bars of all intervals in, and forget series that were silent for too long.

        bars: CHANGE_COLUMNS. The same bars in the same order make the same shard.
        """
        newest_arrival = pc.max(bars["arrived_at"]).as_py()
        advanced = []
        for timeframe in pc.unique(bars["interval"]).to_pylist():
            of_interval = bars.filter(pc.equal(bars["interval"], timeframe))
            rings = self.of(timeframe)
            emission = rings.update(new_bars(of_interval, TIMEFRAME_MS[timeframe], newest_arrival))
            advanced.append(Advance(timeframe, list(rings.symbols), emission))
        self.forget_silent(newest_arrival, silent_ms)
        return advanced

    def forget_silent(self, now_ms: int, silent_ms: int) -> int:
        """Drop series that were silent for longer than `silent_ms` and than their own ring.

        What is dropped could not have completed a window any more. Returns how many they were.
        """
        return sum(
            rings.forget(now_ms - max(silent_ms, rings.ring_length * TIMEFRAME_MS[timeframe]))
            for timeframe, rings in self.rings.items()
        )

    def to_bytes(self) -> bytes:
        """A version byte, the settings, the series' names, their times and rings."""
        names = json.dumps(
            {timeframe: rings.symbols for timeframe, rings in self.rings.items()},
            ensure_ascii=False,
        ).encode()
        header = _HEADER.pack(STATE_VERSION, self.lookback, self.late_bars, self.shards, len(names))
        arrays: list[np.ndarray[Any, Any]] = []
        for rings in self.rings.values():
            arrays += [rings.newest, rings.first, rings.newest_arrival, *rings.slots.parts()]
        return b"".join([header, names, *(array.tobytes() for array in arrays)])

    @classmethod
    def from_bytes(cls, state: bytes, lookback: int, late_bars: int, shards: int) -> "Shard":
        """Read what `to_bytes` wrote.

        Raises DataLoss where it was written by another version or under other settings: reading
        it as something else would predict from wrong windows.
        """
        version, *written_with, names_length = _HEADER.unpack_from(state)
        wanted = [lookback, late_bars, shards]
        if version != STATE_VERSION or written_with != wanted:
            raise DataLoss(
                f"the checkpoint's window state is version {version} with lookback, late_bars, "
                f"shards = {written_with}; this program has version {STATE_VERSION} with {wanted}: "
                "restore the settings, or start with a new checkpoint_dir (bars are then read "
                "again from the topic's beginning)"
            )
        shard = cls(lookback, late_bars, shards)
        at = _HEADER.size + names_length
        for timeframe, symbols in json.loads(state[_HEADER.size : at]).items():
            shard.rings[timeframe], at = _rings(state, at, symbols, lookback, late_bars)
        return shard


def _rings(
    state: bytes, at: int, symbols: list[str], lookback: int, late_bars: int
) -> tuple[Rings, int]:
    """The rings that begin at byte `at`, and where they end."""
    rings = Rings(lookback, late_bars)
    like = Slots.empty(len(symbols), rings.ring_length)
    arrays: list[Any] = []
    for empty in (*(np.empty(len(symbols), np.int64) for _ in range(3)), *like.parts()):
        part = np.frombuffer(state, empty.dtype, empty.size, at)
        arrays.append(part.reshape(empty.shape).copy())
        at += part.nbytes
    newest, first, newest_arrival, *slots = arrays
    return Rings(lookback, late_bars, symbols, newest, first, newest_arrival, Slots(*slots)), at


def new_bars(bars: pa.Table, bar_ms: int, newest_arrival: int) -> NewBars:
    """Put messages of one interval in order; of several for a slot the newest counts."""
    names = bars["symbol"].combine_chunks().dictionary_encode()
    symbol = names.indices.to_numpy().astype(np.int64)
    slots = bars["open_time"].to_numpy() // bar_ms
    fetched_at = bars["fetched_at"].to_numpy()
    order = np.lexsort((bars["offset"].to_numpy(), fetched_at, slots, symbol))
    new_symbol = np.diff(symbol[order], prepend=-1) != 0
    _, lasts = runs(new_symbol | (np.diff(slots[order], prepend=-1) != 0))
    keep = order[lasts]
    values = np.stack([bars[name].to_numpy()[keep] for name in VALUES], axis=1)
    return NewBars(
        names.dictionary.to_pylist(),
        symbol[keep],
        slots[keep],
        values,
        fetched_at[keep],
        newest_arrival,
    )
