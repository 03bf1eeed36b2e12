"""The bars of all leaders in one timeframe, once a shard."""

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stream.state.rings import NewBars, Slots

# So far behind its leader a series may be read: what ingest fills in at a first start, a week of
# minutes. A leader takes 0.65 MB of each shard.
KEPT_BARS: Final = 10_080
# No slot, long before every other one; and an arrival before every other one.
NEVER: Final = -(2**40)
UNREAD: Final = -1

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class LeaderBars:
    """The newest bars of all leaders in one timeframe, found by slot: at `slot % KEPT_BARS`.

    newest, begun: (n_leaders,) newest slot, and where the unbroken run of bars up to it begins, as
    far back as a window reaches.
    """

    def __init__(self, count: int, lookback: int) -> None:
        self._lookback = lookback
        self._slots = Slots.empty(count * KEPT_BARS)
        self._slot_at = np.full(count * KEPT_BARS, NEVER, np.int64)
        self._late_for = np.full(count * KEPT_BARS, UNREAD, np.int64)
        self.newest = np.full(count, NEVER, np.int64)
        self.begun = np.full(count, NEVER, np.int64)

    def put(self, new: NewBars, leaders: Ints, late_for: Ints) -> None:
        """Take bars in: `new.symbol` are rows of `leaders`, the leaders' numbers.

        late_for: (n_bars,) as `columns` returns it, of the slot's first message.
        """
        leader, slots = leaders[new.symbol], new.slots
        np.maximum.at(self.newest, leader, slots)
        fits = slots > self.newest[leader] - KEPT_BARS
        leader, slots = leader[fits], slots[fits]
        at = leader * KEPT_BARS + slots % KEPT_BARS
        other = self._slot_at[at] < slots
        self._slot_at[at] = slots
        self._slots.fetched_at[at[other]] = UNREAD
        self._late_for[at[other]] = late_for[fits][other]
        self._slots.put(at, new.values[fits], new.fetched_at[fits])
        self._look_back()

    def _look_back(self) -> None:
        back = np.arange(self._lookback + 1)
        slots = self.newest[:, None] - back
        at = np.arange(len(self.newest))[:, None] * KEPT_BARS + slots % KEPT_BARS
        unbroken = np.cumprod(self._slot_at[at] == slots, axis=1).sum(axis=1)
        self.begun = self.newest - unbroken + 1

    def columns(self, leader: int, slots: Ints) -> tuple[Floats, Ints]:
        """The bars (n_slots, 6) of a leader at these slots, NaN where there is none.

        Also (n_slots,) up to which arrivals a bar is late for; -1: for none.
        """
        at = leader * KEPT_BARS + slots % KEPT_BARS
        there = self._slot_at[at] == slots
        found = np.concatenate([self._slots.prices[at], self._slots.volumes[at]], axis=1)
        found[~there] = np.nan
        return found, np.where(there, self._late_for[at], UNREAD)

    def to_table(self) -> pa.Table:
        """The bars that are there, a row each."""
        at = np.flatnonzero(self._slot_at != NEVER)
        parts = self._slots[at].parts()
        columns = {"at": at, "slot": self._slot_at[at], "late_for": self._late_for[at]}
        columns |= {f"price_{n}": parts[0][:, n] for n in range(4)}
        columns |= {f"volume_{n}": parts[1][:, n] for n in range(2)}
        return pa.table({**columns, "fetched_at": parts[2]})

    @classmethod
    def from_table(cls, found: pa.Table, count: int, lookback: int) -> "LeaderBars":
        """Read what `to_table` wrote."""
        bars = cls(count, lookback)
        column = {name: found[name].to_numpy() for name in found.column_names}
        at = column["at"]
        bars._slot_at[at] = column["slot"]
        bars._late_for[at] = column["late_for"]
        bars._slots.prices[at] = np.stack([column[f"price_{n}"] for n in range(4)], axis=1)
        bars._slots.volumes[at] = np.stack([column[f"volume_{n}"] for n in range(2)], axis=1)
        bars._slots.fetched_at[at] = column["fetched_at"]
        np.maximum.at(bars.newest, at // KEPT_BARS, column["slot"])
        bars._look_back()
        return bars
