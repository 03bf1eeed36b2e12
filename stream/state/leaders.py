"""The leaders of one shard: their bars, copied here, and the bars that wait for them.

A series' bar is taken into its ring once its leaders' bars of the same slot are there, or its wait
is over; until then it is held, and those behind it in its series too. What ends a wait is a wake-up
(`ingest.wake`) in the topic, read in every partition: so where records lie decides, never a clock.

```
 partition 0   BTC 12:00  BTC 12:01              wake 12:02   BTC 12:02: late for what has waited
 partition 1   ETH 12:00  ETH 12:01  ETH 12:02   wake 12:02
                                     held until both wake-ups were read, or BTC 12:02 was
```
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from conf.errors import DataLoss
from conf.sections import Market
from conf.timeframes import TIMEFRAME_MS
from stream.packed import from_bytes, to_bytes
from stream.state.change import Arrived, WakeUp, new_bars
from stream.state.leader_bars import UNREAD, LeaderBars

# A follower that is read so far ahead of its leaders goes on without them.
HELD_BARS: Final = 200_000
_META: Final = b"candlecast"

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
# For each position of a series' leaders the row in `LeaderBars`; None where it has none there.
Positions = tuple[int | None, ...]


@dataclass
class Waits:
    """What became of bars that had to wait in this micro-batch; `held` are still waiting, the last
    of them until `until` (epoch ms of the topic's messages)."""

    came: int = 0
    ran_out: int = 0
    held: int = 0
    until: int = 0


@dataclass
class Leaders:
    """All that a shard knows of leaders.

    read: by partition of the topic, up to where its wake-ups were read. partitions: how many the
    topic has; 0 before the first wake-up. held: the bars that wait; None where none does.
    """

    market: Market
    lookback: int
    bars: dict[str, LeaderBars] = field(default_factory=dict)
    read: dict[int, int] = field(default_factory=dict)
    partitions: int = 0
    held: pa.Table | None = None
    waits: Waits = field(default_factory=Waits)

    def __post_init__(self) -> None:
        self._number = {name: number for number, name in enumerate(self.market.names)}
        self._positions: dict[str, Positions] = {}

    def of(self, timeframe: str) -> LeaderBars:
        """The leaders' bars of a timeframe, made when it is new here."""
        if timeframe not in self.bars:
            self.bars[timeframe] = LeaderBars(len(self._number), self.lookback)
        return self.bars[timeframe]

    def positions(self, symbol: str) -> Positions:
        """The numbers of a symbol's leaders, by position."""
        if symbol not in self._positions:
            named = self.market.of(symbol)
            numbers = tuple(None if name is None else self._number[name] for name in named)
            self._positions[symbol] = numbers
        return self._positions[symbol]

    @property
    def waited_until(self) -> int:
        """What arrived so long ago (epoch ms, and the wait) has waited, by every partition."""
        return min((self.read.get(part, UNREAD) for part in range(self.partitions)), default=-1)

    def take(self, arrived: Arrived) -> None:
        """Take in leaders' bars and wake-ups."""
        copies = arrived.copies
        if len(copies):
            late_for = self._late_for(copies, arrived.wake_ups)
            copies = copies.append_column("late_for", pa.array(late_for))
            for timeframe in pc.unique(copies["interval"]).to_pylist():
                of_interval = copies.filter(pc.equal(copies["interval"], timeframe))
                self._put(timeframe, of_interval)
        for wake in arrived.wake_ups:
            self.read[wake.partition] = max(self.read.get(wake.partition, UNREAD), wake.until)
            self.partitions = max(self.partitions, wake.partitions)

    def _late_for(self, copies: pa.Table, wake_ups: Iterable[WakeUp]) -> Ints:
        """Of each copy the newest wake-up before it in its partition."""
        partition, offset = copies["partition"].to_numpy(), copies["offset"].to_numpy()
        found = np.full(len(copies), UNREAD, np.int64)
        for number in np.unique(partition).tolist():
            found[partition == number] = self.read.get(number, UNREAD)
        for wake in wake_ups:
            behind = (partition == wake.partition) & (offset > wake.offset)
            found[behind] = np.maximum(found[behind], wake.until)
        return found

    def _put(self, timeframe: str, copies: pa.Table) -> None:
        bar_ms = TIMEFRAME_MS[timeframe]
        new = new_bars(copies, bar_ms, 0)
        # Of several messages for a slot the newest values count, and when the first one came.
        names = [self._number[name] for name in new.symbols]
        key = np.array([self._number[name] for name in copies["symbol"].to_pylist()], np.int64)
        key = (key << 40) + copies["open_time"].to_numpy() // bar_ms
        keys, place = np.unique(key, return_inverse=True)
        first = np.full(len(keys), np.iinfo(np.int64).max)
        np.minimum.at(first, place, copies["late_for"].to_numpy())
        leaders = np.array(names, np.int64)
        of_slot = np.searchsorted(keys, (leaders[new.symbol] << 40) + new.slots)
        self.of(timeframe).put(new, leaders, first[of_slot])

    def ready(self, bars: pa.Table, arrived: Arrived) -> pa.Table:
        """Of the bars that are held and those of a micro-batch the ones whose wait is over."""
        before = 0 if self.held is None else len(self.held)
        both = bars if self.held is None else pa.concat_tables([self.held, bars])
        self.waits = Waits()
        blocked, ran_out = self._blocked(both, arrived)
        if len(both):
            blocked = self._with_those_behind(both, blocked, arrived.wait_ms)
        self.waits.ran_out = int(ran_out.sum())
        self.waits.came = int((~blocked[:before] & ~ran_out[:before]).sum())
        self.held = both.filter(pa.array(blocked)) if blocked.any() else None
        if self.held is not None:
            newest = pc.max(self.held["arrived_at"]).as_py()
            self.waits.held, self.waits.until = len(self.held), newest + arrived.wait_ms
            both = both.filter(pa.array(~blocked))
        return both

    def _blocked(self, bars: pa.Table, arrived: Arrived) -> tuple[Bools, Bools]:
        """Which bars lack a leader's bar that may still come, and which have waited in vain."""
        blocked, ran_out = np.zeros(len(bars), bool), np.zeros(len(bars), bool)
        over = bars["arrived_at"].to_numpy() + arrived.wait_ms <= self.waited_until
        for timeframe in arrived.wanted.intersection(pc.unique(bars["interval"]).to_pylist()):
            leaders = self.of(timeframe)
            rows = np.flatnonzero(pc.equal(bars["interval"], timeframe).to_numpy())
            of_timeframe = bars.take(pa.array(rows))
            slots = of_timeframe["open_time"].to_numpy() // TIMEFRAME_MS[timeframe]
            lacks = self._lacks(leaders, of_timeframe["symbol"], slots)
            blocked[rows] = lacks & ~over[rows]
            ran_out[rows] = lacks & over[rows]
        return blocked, ran_out

    def _lacks(self, leaders: LeaderBars, symbols: pa.ChunkedArray, slots: Ints) -> Bools:
        """Which bars (n_bars,) wait for a leader's: for the newest, and where it is of any use."""
        named = symbols.combine_chunks().dictionary_encode()
        reads = np.zeros((len(named.dictionary), len(self._number)), bool)
        for row, symbol in enumerate(named.dictionary.to_pylist()):
            reads[row, [number for number in self.positions(symbol) if number is not None]] = True
        reads = reads[named.indices.to_numpy()]
        missing = reads & (slots[:, None] > leaders.newest)
        # A run that began within the window leaves a hole in it.
        broken = missing & (leaders.begun > slots[:, None] - self.lookback)
        lacks: Bools = missing.any(axis=1) & ~broken.any(axis=1)
        return lacks

    def _with_those_behind(self, bars: pa.Table, blocked: Bools, wait_ms: int) -> Bools:
        """Hold also what follows a held bar in its series; no bar longer than its own wait."""
        if not blocked.any():
            return blocked
        series = pc.binary_join_element_wise(bars["symbol"], bars["interval"], " ")
        number = series.combine_chunks().dictionary_encode().indices.to_numpy()
        open_time, arrived_at = bars["open_time"].to_numpy(), bars["arrived_at"].to_numpy()
        first = np.full(number.max() + 1, np.iinfo(np.int64).max)
        np.minimum.at(first, number[blocked], open_time[blocked])
        held: Bools = (open_time >= first[number]) & (arrived_at + wait_ms > self.waited_until)
        excess = int(held.sum()) - HELD_BARS
        if excess > 0:
            oldest = np.flatnonzero(held)[np.argsort(open_time[held], kind="stable")]
            held[oldest[:excess]] = False
        return held

    def to_bytes(self) -> bytes:
        """All of it, as one table of tables."""
        tables = {name: bars.to_table() for name, bars in self.bars.items()}
        said = {
            "leaders": list(self.market.names),
            "read": list(self.read.items()),
            "partitions": self.partitions,
        }
        held = [] if self.held is None else [("", to_bytes(self.held))]
        rows = [*held, *((name, to_bytes(table)) for name, table in tables.items())]
        names, packed = zip(*rows, strict=True) if rows else ((), ())
        table = pa.table(
            {"name": pa.array(names, pa.string()), "bars": pa.array(packed, pa.binary())}
        )
        return to_bytes(table.replace_schema_metadata({_META: json.dumps(said)}))

    @classmethod
    def from_bytes(cls, state: bytes, market: Market, lookback: int) -> "Leaders":
        """Read what `to_bytes` wrote; raises DataLoss where it is about other leaders."""
        table = from_bytes(state)
        said: dict[str, Any] = json.loads(table.schema.metadata[_META])
        if said["leaders"] != list(market.names):
            raise DataLoss(
                f"the checkpoint's window state is about the leaders {', '.join(said['leaders'])}; "
                f"the settings [market] name {', '.join(market.names)}: restore them, or start "
                "with a new checkpoint_dir (bars are then read again from the topic's beginning)"
            )
        leaders = cls(market, lookback, read={int(p): u for p, u in said["read"]})
        leaders.partitions = said["partitions"]
        for name, packed in zip(table["name"].to_pylist(), table["bars"].to_pylist(), strict=True):
            found = from_bytes(packed)
            if name:
                leaders.bars[name] = LeaderBars.from_table(found, len(market.names), lookback)
            else:
                leaders.held = found
        return leaders
