"""The stream's window state: a ring of bars for each series, all series of a shard in one value.

A series is one symbol in one timeframe. Bars stand in slots, `open_time // bar_ms`, so that a
missing bar is an empty slot and order of arrival does not matter:

    slot      100   101   102   103   104
    bar        x     x     .     x     x        102 is missing: no window that holds it is complete
    emitted    1     1     0     0     0        when 102 comes late, 102, 103 and 104 are emitted

A window is emitted once, when its last missing bar arrives. A revised bar (same slot, fetched
later) replaces its predecessor for the windows that are still to come.

All symbols of a timeframe are updated in one pass: some twenty calls of NumPy for each symbol cost
more than the network where there are 10,000. Each symbol gets a segment, its ring extended to its
newest bar, and the segments lie end to end in one array.

    segment 0  BTC  [ ring of 121 slots ][ new ]
    segment 1  ETH  [ ring of 121 slots ][ new ]
    segment 2  ETH  [ empty             ][ new ]   after a jump that no window reaches over
"""

from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from model.features import complete_windows

WARMING_UP: Final = "warming up"
GAP: Final = "missing bar"
LATE: Final = "too late"

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NewBars:
    """Bars of one timeframe from one micro-batch, ascending by symbol and slot, each slot once.

    symbols: the names of the symbols there are. symbol: (n_bars,) index into `symbols`.
    values: (n_bars, 6) open, high, low, close, base_volume, quote_volume (NaN: unknown).
    newest_arrival: when the newest of their messages reached the topic, epoch ms.
    """

    symbols: list[str]
    symbol: Ints
    slots: Ints
    values: Floats
    fetched_at: Ints
    newest_arrival: int


@dataclass(frozen=True, slots=True)
class Emission:
    """The windows that became complete, and the bars whose window is not.

    bars: (n_bars, 6), what the windows of one series need, series behind series; NaN rows where a
    bar is missing. ends: (n_windows,) rows of `bars` at which a window ends that was never emitted
    before, with the series' row and the slot of that bar. skipped: (series' rows, slots) by reason.
    """

    bars: Floats
    ends: Ints
    rows: Ints
    slots: Ints
    skipped: dict[str, tuple[Ints, Ints]]


@dataclass(slots=True)
class Slots:
    """What is kept of bars; the leading axes are those of the place (series and slot, or slot).

    prices: (..., 4). volumes: (..., 2). fetched_at: (...), -1 where the slot is empty.
    emitted: (...), 1 where the window that ends here has been emitted.
    """

    prices: NDArray[np.float64]
    volumes: NDArray[np.float32]
    fetched_at: Ints
    emitted: NDArray[np.uint8]

    @classmethod
    def empty(cls, *shape: int) -> Self:
        """Slots without a bar."""
        return cls(
            np.full((*shape, 4), np.nan),
            np.full((*shape, 2), np.nan, np.float32),
            np.full(shape, -1, np.int64),
            np.zeros(shape, np.uint8),
        )

    def __getitem__(self, at: Any) -> "Slots":
        return Slots(*(part[at] for part in self.parts()))

    def __setitem__(self, at: Any, slots: "Slots") -> None:
        for mine, theirs in zip(self.parts(), slots.parts(), strict=True):
            mine[at] = theirs

    def parts(self) -> tuple[NDArray[Any], ...]:
        """The arrays, in the order in which they are written."""
        return self.prices, self.volumes, self.fetched_at, self.emitted

    def windows_from(self, count: int) -> "Slots":
        """A view in which the leading axis says where a window of `count` slots begins."""
        return Slots(*(windows_from(part, count) for part in self.parts()))

    def put(self, at: Ints, values: Floats, fetched_at: Ints) -> NDArray[np.bool_]:
        """Write bars where none is held, or only an older one; say which places were empty."""
        held = self.fetched_at[at]
        newer = fetched_at >= held
        write = at[newer]
        self.prices[write] = values[newer, :4]
        self.volumes[write] = np.minimum(values[newer, 4:], np.finfo(np.float32).max)
        self.fetched_at[write] = fetched_at[newer]
        return held < 0


def windows_from(part: NDArray[Any], count: int) -> NDArray[Any]:
    """A view (n - count + 1, count, ...) of `part` (n, ...): a window that begins at each place.

    Copied whole, hundreds of slots cost one step, where an index for each would cost hundreds.
    """
    if len(part) < count:
        return np.empty((0, count, *part.shape[1:]), part.dtype)
    windows = sliding_window_view(part, count, axis=0, writeable=True)
    return np.moveaxis(windows, -1, 1)


def runs(changes: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """The first and the last row of each run; `changes` (n,) says where a row begins another run.

    >>> runs(np.array([True, False, True, True, False]))
    (array([0, 2, 3]), array([1, 2, 4]))
    """
    firsts = np.flatnonzero(changes)
    return firsts, np.append(firsts[1:], len(changes))[: len(firsts)] - 1


@dataclass(frozen=True, slots=True)
class Segments:
    """Where the segments lie in the slots of one pass: (n_segments,) arrays, `of_bar` (n_bars,).

    row: the series' row. kept: whether the segment begins with the series' ring, or else is fresh.
    start: slot of its first place. offset: its first place. length: how many places.
    """

    of_bar: Ints
    row: Ints
    kept: NDArray[np.bool_]
    start: Ints
    offset: Ints
    length: Ints

    @classmethod
    def of(cls, rows: Ints, slots: Ints, newest: Ints, ring_length: int) -> Self:
        """A segment for each series, and one more behind each jump in its bars.

        A jump is longer than the ring: no window reaches over it, and a series that was silent for
        a year costs no year of empty slots.
        """
        new_series = np.diff(rows, prepend=-1) != 0
        begins = new_series | (np.diff(slots, prepend=slots[:1]) > ring_length)
        firsts, lasts = runs(begins)
        row, first, last = rows[firsts], slots[firsts], slots[lasts]
        kept = new_series[firsts] & (first - newest[row] <= ring_length)
        before = np.where(kept, newest[row], first - 1)
        start = before - ring_length + 1
        length = np.maximum(last, before) - start + 1
        return cls(np.cumsum(begins) - 1, row, kept, start, np.cumsum(length) - length, length)


@dataclass
class Rings:
    """The rings of all symbols of one shard in one timeframe.

    lookback: bars that a prediction looks at. late_bars: how late a bar may come and still complete
    a window. newest, first: (n_symbols,) newest slot, and the first that was ever seen.
    newest_arrival: (n_symbols,) when the last message arrived, epoch ms.
    slots: (n_symbols, ring_length).
    """

    lookback: int
    late_bars: int
    symbols: list[str] = field(default_factory=list)
    newest: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    first: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    newest_arrival: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    slots: Slots = field(default_factory=lambda: Slots.empty(0, 0))

    def __post_init__(self) -> None:
        self._row_of = {symbol: row for row, symbol in enumerate(self.symbols)}
        if not self.symbols:
            self.slots = Slots.empty(0, self.ring_length)

    @property
    def ring_length(self) -> int:
        """Slots a series keeps: those of the oldest window that may still be completed."""
        return self.lookback + 1 + self.late_bars

    def update(self, new: NewBars) -> Emission:
        """Take bars in; what became complete comes out, in order of time for each series."""
        rows = self._rows(new)
        self.newest_arrival[rows] = np.maximum(self.newest_arrival[rows], new.newest_arrival)
        late = new.slots <= self.newest[rows] - self.ring_length
        skipped = {LATE: (rows[late], new.slots[late])}
        rows, slots = rows[~late], new.slots[~late]
        segments = Segments.of(rows, slots, self.newest, self.ring_length)
        held = Slots.empty(int(segments.length.sum()))
        rings = held.windows_from(self.ring_length)
        rings[segments.offset[segments.kept]] = self.slots[segments.row[segments.kept]]
        at = (segments.offset - segments.start)[segments.of_bar] + slots
        arrived = held.put(at, new.values[~late], new.fetched_at[~late])

        complete = complete_windows(held.prices[:, 3], self.lookback)
        # The first windows of a segment would reach into the segment before.
        windows_from(complete, self.lookback)[segments.offset] = False
        ends = np.flatnonzero(complete & (held.emitted == 0))
        held.emitted[ends] = 1
        np.minimum.at(self.first, rows, slots)
        self._keep(segments, held)
        missing = arrived & ~complete[at]
        warm = slots >= self.first[rows] + self.lookback
        for reason, why in ((WARMING_UP, missing & ~warm), (GAP, missing & warm)):
            skipped[reason] = (rows[why], slots[why])
        return self._emission(segments, held, ends, skipped)

    def forget(self, arrived_before: int) -> int:
        """Drop the series of which no message arrived since; how many they were."""
        stay = self.newest_arrival >= arrived_before
        if stay.all():
            return 0
        self.symbols = [s for s, keep in zip(self.symbols, stay, strict=True) if keep]
        self.newest, self.first = self.newest[stay], self.first[stay]
        self.newest_arrival, self.slots = self.newest_arrival[stay], self.slots[stay]
        self._row_of = {symbol: row for row, symbol in enumerate(self.symbols)}
        return int((~stay).sum())

    def _rows(self, new: NewBars) -> Ints:
        """The row of each bar's series; a symbol seen for the first time gets one."""
        unknown = [i for i, symbol in enumerate(new.symbols) if symbol not in self._row_of]
        if unknown:
            first = new.slots[np.searchsorted(new.symbol, unknown)]
            for i in unknown:
                self._row_of[new.symbols[i]] = len(self._row_of)
                self.symbols.append(new.symbols[i])
            self.newest = np.append(self.newest, first - 1)
            self.first = np.append(self.first, first)
            self.newest_arrival = np.append(
                self.newest_arrival, np.full(len(unknown), new.newest_arrival)
            )
            fresh = Slots.empty(len(unknown), self.ring_length)
            both = zip(self.slots.parts(), fresh.parts(), strict=True)
            self.slots = Slots(*(np.concatenate(parts) for parts in both))
        rows = np.array([self._row_of[symbol] for symbol in new.symbols], np.int64)
        return rows[new.symbol]

    def _keep(self, segments: Segments, held: Slots) -> None:
        """Make the end of each series' last segment its ring."""
        _, last = runs(np.diff(segments.row, prepend=-1) != 0)
        ends = (segments.offset + segments.length)[last]
        rings = held.windows_from(self.ring_length)
        self.slots[segments.row[last]] = rings[ends - self.ring_length]
        self.newest[segments.row[last]] = (segments.start + segments.length - 1)[last]

    def _emission(
        self, segments: Segments, held: Slots, ends: Ints, skipped: dict[str, tuple[Ints, Ints]]
    ) -> Emission:
        """Cut what the windows that end at the places `ends` need out of their segments."""
        segment = np.searchsorted(segments.offset, ends, side="right") - 1
        firsts, lasts = runs(np.diff(segment, prepend=-1) != 0)
        begin = ends[firsts] - self.lookback
        size = ends[lasts] + 1 - begin
        moved = begin - (np.cumsum(size) - size)  # how far each cut moves towards the beginning
        places = np.arange(size.sum()) + np.repeat(moved, size)
        counts = lasts - firsts + 1
        return Emission(
            np.concatenate([held.prices[places], held.volumes[places]], axis=1),
            ends - np.repeat(moved, counts),
            segments.row[segment],
            ends + (segments.start - segments.offset)[segment],
            skipped,
        )
