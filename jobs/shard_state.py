"""The window state of one shard as one value in Spark's state store: all intervals, all symbols."""

import json
import struct
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from conf.errors import DataLoss
from conf.intervals import INTERVAL_MS
from jobs.windows import Rings, Slots

STATE_VERSION: Final = 3
_HEADER: Final = struct.Struct("<BIIII")  # version, lookback, late_bars, shards, bytes of names


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

    def of(self, interval: str) -> Rings:
        """The rings of an interval, made when it is new here."""
        return self.rings.setdefault(interval, Rings(self.lookback, self.late_bars))

    def forget_silent(self, now_ms: int, silent_ms: int) -> int:
        """Drop series that were silent for longer than `silent_ms` and than their own ring.

        What is dropped could not have completed a window any more. Returns how many they were.
        """
        return sum(
            rings.forget(now_ms - max(silent_ms, rings.ring_length * INTERVAL_MS[interval]))
            for interval, rings in self.rings.items()
        )

    def to_bytes(self) -> bytes:
        """A version byte, the settings, the series' names, their times and rings."""
        names = json.dumps(
            {interval: rings.symbols for interval, rings in self.rings.items()}, ensure_ascii=False
        ).encode()
        header = _HEADER.pack(STATE_VERSION, self.lookback, self.late_bars, self.shards, len(names))
        arrays: list[np.ndarray[Any, Any]] = []
        for rings in self.rings.values():
            arrays += [rings.newest, rings.first, rings.heard_at, *rings.slots.parts()]
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
        for interval, symbols in json.loads(state[_HEADER.size : at]).items():
            shard.rings[interval], at = _rings(state, at, symbols, lookback, late_bars)
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
    newest, first, heard_at, *slots = arrays
    return Rings(lookback, late_bars, symbols, newest, first, heard_at, Slots(*slots)), at
