"""What the leaders of some windows did: their bars of the same slots, beside the series' own."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from conf.timeframes import TIMEFRAME_MS
from model.layout import BAR_COLUMNS, CLOSE
from stream.state.leaders import Leaders, Positions
from stream.state.rings import Emission, runs

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Stretches:
    """The runs of consecutive slots in an emission's bars, each of one series.

    row, slot: (n_stretches,) the series' row, and the slot of the first bar. bounds:
    (n_stretches + 1,) rows of the bars between which they lie.
    """

    row: Ints
    slot: Ints
    bounds: Ints

    @classmethod
    def of(cls, emission: Emission) -> "Stretches":
        """Those of an emission with at least one window."""
        # Constant along the bars of one series without a jump.
        shift = emission.slots - emission.ends
        begins = (np.diff(emission.rows, prepend=-1) != 0) | (np.diff(shift, prepend=shift[0]) != 0)
        firsts, lasts = runs(begins)
        bounds = np.append(0, emission.ends[lasts] + 1)
        return cls(emission.rows[firsts], shift[firsts] + bounds[:-1], bounds)

    def slots(self) -> Ints:
        """The slot of each bar, (n_bars,)."""
        lengths = np.diff(self.bounds)
        return np.arange(self.bounds[-1]) + np.repeat(self.slot - self.bounds[:-1], lengths)


@dataclass(frozen=True)
class Leading:
    """The leaders of a timeframe's series when they took in `bars` (`CHANGE_SCHEMA`).

    wait_ms: how long each of these bars had leave to wait.
    """

    leaders: Leaders
    timeframe: str
    bars: pa.Table
    wait_ms: int

    def columns(self, symbols: list[str], emission: Emission) -> tuple[Floats, Bools]:
        """The leaders' columns (n_bars, 6 x width) of an emission's bars, position by position.

        NaN where a bar is missing, or a series has no leader there. Also (n_windows,) which windows
        have the bars of all their leaders, each in time.
        """
        stretches = Stretches.of(emission)
        slots, lengths = stretches.slots(), np.diff(stretches.bounds)
        # Of a thousand series the same slots are asked for: each is looked up once.
        known, at = np.unique(slots, return_inverse=True)
        found = np.empty((len(slots), BAR_COLUMNS * self.leaders.market.width))
        missing, late_for = np.empty(len(slots), bool), np.empty(len(slots), np.int64)
        positions = [self.leaders.positions(symbols[row]) for row in stretches.row]
        for some in dict.fromkeys(positions):
            mine = np.repeat([one == some for one in positions], lengths)
            of_slot = self._of_slots(some, known)
            for whole, part in zip((found, missing, late_for), of_slot, strict=True):
                whole[mine] = part[at[mine]]
        return found, self._complete(symbols, emission, missing, late_for)

    def _of_slots(self, positions: Positions, slots: Ints) -> tuple[Floats, Bools, Ints]:
        """The columns at these slots for series with these leaders, whether a bar is missing there,
        and for which arrivals one is late."""
        found = np.full((len(slots), BAR_COLUMNS * len(positions)), np.nan)
        missing, late_for = np.zeros(len(slots), bool), np.full(len(slots), -1)
        for place, leader in enumerate(positions):
            if leader is not None:
                bars, late = self.leaders.of(self.timeframe).columns(leader, slots)
                found[:, place * BAR_COLUMNS : (place + 1) * BAR_COLUMNS] = bars
                missing |= np.isnan(bars[:, CLOSE])
                late_for = np.maximum(late_for, late)
        return found, missing, late_for

    def _complete(
        self, symbols: list[str], emission: Emission, missing: Bools, late_for: Ints
    ) -> Bools:
        needed, ends = self.leaders.lookback + 1, emission.ends
        lacking = np.append(0, np.cumsum(missing))
        complete: Bools = lacking[ends + 1] == lacking[ends + 1 - needed]
        arrived_at = self.bars["arrived_at"].to_numpy()
        if len(late_for) and late_for.max() >= arrived_at.min() + self.wait_ms:
            latest = sliding_window_view(late_for, needed).max(axis=1)[ends + 1 - needed]
            complete &= latest < self._arrived_at(symbols, emission) + self.wait_ms
        return complete

    def _arrived_at(self, symbols: list[str], emission: Emission) -> Ints:
        """When the bar arrived that completed each window: the last one that lies within it."""
        row_of = {symbol: row for row, symbol in enumerate(symbols)}
        named = self.bars["symbol"].combine_chunks().dictionary_encode()
        rows = np.array([row_of[name] for name in named.dictionary.to_pylist()], np.int64)
        slots = self.bars["open_time"].to_numpy() // TIMEFRAME_MS[self.timeframe]
        place = (rows[named.indices.to_numpy()] << 36) + slots
        order = np.argsort(place, kind="stable")
        place, arrived_at = place[order], self.bars["arrived_at"].to_numpy()[order]
        # The latest so far of each series: rows ascend, so that no series sees the one before.
        by_row = (place >> 36) << 42
        latest = np.maximum.accumulate(arrived_at + by_row) - by_row
        at = np.searchsorted(place, (emission.rows << 36) + emission.slots, side="right") - 1
        result: Ints = latest[at]
        return result
