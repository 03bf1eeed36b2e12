"""The window state of one shard: all intervals, all symbols."""

import json
import struct
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conf.errors import DataLoss
from conf.sections import Market
from conf.timeframes import TIMEFRAME_MS
from stream.state.change import new_bars, of_change
from stream.state.leaders import Leaders
from stream.state.leading import Leading
from stream.state.rings import Emission, Rings, Slots

STATE_VERSION: Final = 5
# With leaders: the same, and theirs behind it.
STATE_VERSION_WITH_LEADERS: Final = 6
_HEADER: Final = struct.Struct("<BIIII")  # version, lookback, late_bars, shards, bytes of names


@dataclass(frozen=True)
class Advance:
    """What a micro-batch's bars did to the series of one timeframe.

    symbols: the names of the series, by the rows of `emission`. leading: what their leaders did;
    None where no model asks for it.
    """

    timeframe: str
    symbols: list[str]
    emission: Emission
    leading: Leading | None = None


@dataclass
class Shard:
    """The rings of one shard, by interval, and its leaders where there are any.

    shards: how many there are; with another number a series would be looked for in another shard
    than the one that holds its bars.
    """

    lookback: int
    late_bars: int
    shards: int
    market: Market | None = None
    rings: dict[str, Rings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.leaders = None if self.market is None else Leaders(self.market, self.lookback)

    def of(self, timeframe: str) -> Rings:
        """The rings of an interval, made when it is new here."""
        return self.rings.setdefault(timeframe, Rings(self.lookback, self.late_bars))

    @property
    def nbytes(self) -> int:
        """About how many bytes `to_bytes` makes of the series themselves.

        Not of their leaders: beside few series these are many, and a worker that starts would take
        in changes by the thousand.
        """
        return sum(part.nbytes for rings in self.rings.values() for part in rings.slots.parts())

    def take(self, bars: pa.Table, silent_ms: int) -> list[Advance]:
        """Take checked bars of all intervals in, and forget series that were silent for too long.

        bars: CHANGE_SCHEMA; with leaders what `change_of` makes of them. The same bars in the same
        order make the same shard.
        """
        leaders, arrived = self.leaders, None
        if leaders is not None:
            bars, arrived = of_change(bars)
            leaders.take(arrived)
            bars = leaders.ready(bars, arrived)
            if not len(bars):
                return []
        newest_arrival = pc.max(bars["arrived_at"]).as_py()
        advanced = []
        for timeframe in pc.unique(bars["interval"]).to_pylist():
            of_interval = bars.filter(pc.equal(bars["interval"], timeframe))
            rings = self.of(timeframe)
            emission = rings.update(new_bars(of_interval, TIMEFRAME_MS[timeframe], newest_arrival))
            leading = None
            if leaders is not None and arrived is not None and timeframe in arrived.wanted:
                leading = Leading(leaders, timeframe, of_interval, arrived.wait_ms)
            advanced.append(Advance(timeframe, list(rings.symbols), emission, leading))
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
        """A version byte, the settings, the series' names, their times and rings; the leaders."""
        names = json.dumps(
            {timeframe: rings.symbols for timeframe, rings in self.rings.items()},
            ensure_ascii=False,
        ).encode()
        version = STATE_VERSION if self.leaders is None else STATE_VERSION_WITH_LEADERS
        header = _HEADER.pack(version, self.lookback, self.late_bars, self.shards, len(names))
        arrays: list[np.ndarray[Any, Any]] = []
        for rings in self.rings.values():
            arrays += [rings.newest, rings.first, rings.newest_arrival, *rings.slots.parts()]
        leaders = b"" if self.leaders is None else self.leaders.to_bytes()
        return b"".join([header, names, *(array.tobytes() for array in arrays), leaders])

    @classmethod
    def from_bytes(
        cls, state: bytes, lookback: int, late_bars: int, shards: int, market: Market | None = None
    ) -> "Shard":
        """Read what `to_bytes` wrote.

        Raises DataLoss where it was written by another version or under other settings: reading
        it as something else would predict from wrong windows.
        """
        version, *written_with, names_length = _HEADER.unpack_from(state)
        wanted = [lookback, late_bars, shards]
        known = STATE_VERSION if market is None else STATE_VERSION_WITH_LEADERS
        if version != known or written_with != wanted:
            raise DataLoss(
                f"the checkpoint's window state is version {version} with lookback, late_bars, "
                f"shards = {written_with}; this program has version {known} with {wanted}: "
                "restore the settings, or start with a new checkpoint_dir (bars are then read "
                "again from the topic's beginning)"
            )
        shard = cls(lookback, late_bars, shards, market)
        at = _HEADER.size + names_length
        for timeframe, symbols in json.loads(state[_HEADER.size : at]).items():
            shard.rings[timeframe], at = _rings(state, at, symbols, lookback, late_bars)
        if market is not None:
            shard.leaders = Leaders.from_bytes(state[at:], market, lookback)
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
