"""The stream's window state: a ring of bars for each series, all series of a shard in one value.

A series is one symbol at one interval. Bars stand in slots, `open_time // interval_ms`, so that a
missing bar is an empty slot and order of arrival does not matter:

    slot      100   101   102   103   104
    bar        x     x     .     x     x        102 is missing: no window that holds it is complete
    emitted    1     1     0     0     0        when 102 comes late, 102, 103 and 104 are emitted

A window is emitted once, when its last missing bar arrives. A revised bar (same slot, fetched
later) replaces its predecessor for the windows that are still to come.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from conf.errors import DataLoss
from model.features import complete_windows

STATE_VERSION: Final = 1
# What is kept of a bar in its slot; `fetched_at` is -1 where the slot is empty.
SLOT: Final = np.dtype(
    [("prices", "<f8", 4), ("volumes", "<f4", 2), ("fetched_at", "<i8"), ("emitted", "u1")]
)
_HEADER: Final = struct.Struct("<BIIII")  # version, lookback, late_bars, shards, bytes of names

WARMING_UP: Final = "warming up"
GAP: Final = "missing bar"
LATE: Final = "too late"


@dataclass(frozen=True, slots=True)
class NewBars:
    """Bars of one series from one micro-batch, ascending by slot, each slot once.

    values: (n_bars, 6) open, high, low, close, base_volume, quote_volume (NaN: unknown).
    """

    slots: NDArray[np.int64]
    values: NDArray[np.float64]
    fetched_at: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Emission:
    """The windows of one series that became complete, cut out of `bars` by the model.

    first_slot: slot of `bars[0]`. bars: (n_bars, 6), NaN rows where a bar is missing.
    ends: rows of `bars` at which a complete window ends that was never emitted before.
    skipped: (slot, reason) of new bars whose window is not complete.
    """

    first_slot: int
    bars: NDArray[np.float64]
    ends: NDArray[np.int32]
    skipped: list[tuple[int, str]]


@dataclass
class Shard:
    """The rings of all series of one shard.

    lookback: bars that a prediction looks at. late_bars: how late a bar may come and still
    complete a window. shards: how many there are; with another number a series would be looked for
    in another shard than the one that holds its bars.
    """

    lookback: int
    late_bars: int
    shards: int
    rows: dict[tuple[str, str], int] = field(default_factory=dict)
    newest: list[int] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    rings: list[NDArray[np.void]] = field(default_factory=list)

    @property
    def ring_length(self) -> int:
        """Slots a series keeps: those of the oldest window that may still be completed."""
        return self.lookback + 1 + self.late_bars

    def update(self, series: tuple[str, str], new: NewBars) -> Iterator[Emission]:
        """Take the bars of one series in; yield what became complete, in order of time."""
        row = self.rows.get(series)
        if row is None:
            row = self._add(series, int(new.slots[0]))
        oldest = self.newest[row] - self.ring_length
        late = new.slots <= oldest
        if late.any():
            skipped = [(int(slot), LATE) for slot in new.slots[late]]
            yield Emission(0, np.empty((0, 6)), np.empty(0, np.int32), skipped)
            new = NewBars(new.slots[~late], new.values[~late], new.fetched_at[~late])
        # No window reaches over a jump longer than the ring, so each side is taken by itself:
        # a series that was silent for a year costs no year of empty slots.
        jumps = np.flatnonzero(np.diff(new.slots) > self.ring_length) + 1
        for part in np.split(np.arange(len(new.slots)), jumps):
            if len(part):
                yield self._take(
                    row, NewBars(new.slots[part], new.values[part], new.fetched_at[part])
                )

    def _add(self, series: tuple[str, str], first_slot: int) -> int:
        self.rows[series] = row = len(self.rings)
        self.newest.append(first_slot - 1)
        self.first.append(first_slot)
        self.rings.append(empty_slots(self.ring_length))
        return row

    def _take(self, row: int, new: NewBars) -> Emission:
        start, slots = self._workspace(row, new)
        at = new.slots - start
        held = slots["fetched_at"][at]
        arrived = held < 0
        newer = new.fetched_at >= held
        write = at[newer]
        slots["prices"][write] = new.values[newer, :4]
        slots["volumes"][write] = np.minimum(new.values[newer, 4:], np.finfo("<f4").max)
        slots["fetched_at"][write] = new.fetched_at[newer]

        bars = np.concatenate([slots["prices"], slots["volumes"]], axis=1)
        complete = complete_windows(bars[:, 3], self.lookback)
        ends = np.flatnonzero(complete & (slots["emitted"] == 0))
        slots["emitted"][ends] = 1
        self.first[row] = min(self.first[row], int(new.slots[0]))
        warm = self.first[row] + self.lookback
        skipped = [
            (int(slot), GAP if slot >= warm else WARMING_UP)
            for slot in new.slots[arrived & ~complete[at]]
        ]
        self.newest[row] = start + len(slots) - 1
        self.rings[row] = slots[-self.ring_length :].copy()
        cut = int(ends[0]) - self.lookback if len(ends) else len(bars)
        return Emission(start + cut, bars[cut:], (ends - cut).astype(np.int32), skipped)

    def _workspace(self, row: int, new: NewBars) -> tuple[int, NDArray[np.void]]:
        """The ring in order of time, extended to the newest bar, and the slot it starts at."""
        newest, ring = self.newest[row], self.rings[row]
        if new.slots[0] - newest > self.ring_length:
            newest, ring = int(new.slots[0]) - 1, empty_slots(self.ring_length)
        ahead = max(0, int(new.slots[-1]) - newest)
        return newest - self.ring_length + 1, np.concatenate([ring, empty_slots(ahead)])

    def to_bytes(self) -> bytes:
        """The whole shard as one value: a version byte, the series' names, the rings."""
        names = json.dumps(list(self.rows), ensure_ascii=False).encode()
        header = _HEADER.pack(STATE_VERSION, self.lookback, self.late_bars, self.shards, len(names))
        times = np.array([self.newest, self.first], dtype="<i8").tobytes()
        return b"".join([header, names, times, *(ring.tobytes() for ring in self.rings)])

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
        body = _HEADER.size + names_length
        names = json.loads(state[_HEADER.size : body])
        shard.rows = {(symbol, interval): row for row, (symbol, interval) in enumerate(names)}
        times = np.frombuffer(state, "<i8", 2 * len(names), body).reshape(2, -1)
        shard.newest, shard.first = times.tolist()
        rings = np.frombuffer(state, SLOT, offset=body + times.nbytes).copy()
        shard.rings = list(rings.reshape(len(names), shard.ring_length))
        return shard


def empty_slots(count: int) -> NDArray[np.void]:
    """Slots without a bar."""
    slots = np.zeros(count, SLOT)
    slots["prices"] = np.nan
    slots["volumes"] = np.nan
    slots["fetched_at"] = -1
    return slots
