"""The laws of waiting for leaders, on literal logs. Lookback 3: a window takes four bars.

A log is what lies in the topic: for each partition, in order, bars and wake-ups. Whatever is read
of it in one micro-batch, and however far one partition is read ahead of another, the same windows
come with the same bars of leaders.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conf.errors import DataLoss
from conf.sections import Market
from model.series import VALUES
from stream.state import leaders as leaders_module
from stream.state import shard_store
from stream.state.change import CHANGE_SCHEMA, Arrived, WakeUp, change_of
from stream.state.leaders import Waits
from stream.state.settings import ShardSettings, StateVariables
from stream.state.shard import Advance, Shard
from stream.state.shard_store import Copy, ShardStore
from tests.stream.state.test_shard_store import Store, Task

LOOKBACK, LATE_BARS, MINUTE = 3, 3, 60_000
WAIT_MS = 2_000
SILENT_MS = 10**12
A, B, C = "A-USD", "B-USD", "C-USD"
MARKET = Market(leaders=[A, B], wait_s=WAIT_MS / 1000)


class Record(NamedTuple):
    """A bar of a symbol, or without one a wake-up; `at` is its time in the topic, or until when."""

    symbol: str | None
    slot: int
    at: int
    close: float = 0.0
    fetched_at: int = 0


class Window(NamedTuple):
    """An emitted window: whose, where it ends, and its leaders' closes; None without leaders."""

    symbol: str
    slot: int
    leaders: tuple[tuple[float, ...], ...] | None


def bar(symbol: str, slot: int, after_ms: int = 0, **more: Any) -> Record:
    """A bar that comes so long after its close."""
    return Record(symbol, slot, (slot + 1) * MINUTE + after_ms, close_of(symbol, slot), **more)


def wake(slot: int, after_ms: int = WAIT_MS) -> Record:
    """A wake-up that ends the waits of bars which came at the close of a slot."""
    return Record(None, slot, (slot + 1) * MINUTE + after_ms)


def close_of(symbol: str, slot: int) -> float:
    return 100.0 * (1 + ord(symbol[0])) + slot


@dataclass
class Reader:
    """One shard's stream over a log, that reads as much of each partition as it is told."""

    log: list[list[Record]]
    market: Market = MARKET
    wanted: frozenset[str] = frozenset({"1m"})

    def __post_init__(self) -> None:
        self.shard = Shard(LOOKBACK, LATE_BARS, 1, self.market)
        self.read = [0] * len(self.log)
        self.windows: list[Window] = []
        self.waits: list[Waits] = []

    def advance(self, *counts: int) -> list[Window]:
        """A micro-batch with so many more records of each partition."""
        own: list[tuple[Record, int]] = []
        copies: list[tuple[Record, int, int]] = []
        wake_ups = []
        for partition, count in enumerate(counts):
            first = self.read[partition]
            for offset, record in enumerate(self.log[partition][first : first + count], first):
                if record.symbol is None:
                    wake_ups.append(WakeUp(partition, offset, record.at, len(self.log)))
                    continue
                own.append((record, offset))
                if record.symbol in self.market.names:
                    copies.append((record, offset, partition))
            self.read[partition] += count
        copied = table([(record, offset) for record, offset, _ in copies])
        partitions = pa.array([partition for *_, partition in copies], pa.int32())
        arrived = Arrived(
            copied.append_column("partition", partitions), wake_ups, self.wanted, WAIT_MS
        )
        return self.take(change_of(table(own), arrived))

    def advances(self, change: pa.Table) -> list[Advance]:
        """What the shard makes of it."""
        return self.shard.take(change, SILENT_MS)

    def take(self, change: pa.Table) -> list[Window]:
        found = []
        for advance in self.advances(change):
            emission, columns, led = advance.emission, None, None
            if advance.leading is not None and len(emission.ends):
                columns, led = advance.leading.columns(advance.symbols, emission)
            for number, end in enumerate(emission.ends.tolist()):
                closes = None
                if columns is not None and led is not None and led[number]:
                    rows = columns[end - LOOKBACK : end + 1]
                    closes = tuple(map(tuple, rows[:, 3::6].T.tolist()))
                symbol = advance.symbols[emission.rows[number]]
                found.append(Window(symbol, int(emission.slots[number]), closes))
        self.windows += found
        assert self.shard.leaders is not None
        self.waits.append(self.shard.leaders.waits)
        return found

    def all_at_once(self) -> list[Window]:
        """One micro-batch with all that is left."""
        return self.advance(*(len(part) - n for part, n in zip(self.log, self.read, strict=True)))


@dataclass
class StoredReader(Reader):
    """The same with Spark's state store between micro-batches.

    dies: asked before each micro-batch whether its first attempt is lost; forgets: whether a worker
    takes over that has no copy.
    """

    dies: Callable[[], bool] = lambda: False
    forgets: Callable[[], bool] = lambda: False
    store: Store = field(default_factory=Store)
    copies: dict[int, Copy] = field(default_factory=dict)

    def advances(self, change: pa.Table) -> list[Advance]:
        if self.forgets():
            self.copies.clear()
        if self.dies():
            self.attempt(change)
        advanced, task = self.attempt(change)
        task.commit()
        self.shard = self.copies[0].shard
        return advanced

    def attempt(self, change: pa.Table) -> tuple[list[Advance], Task]:
        task = self.store.task()
        variables = StateVariables.of(task, reads_news=False)  # type: ignore[arg-type]
        made_with = ShardSettings(LOOKBACK, LATE_BARS, 1, SILENT_MS, self.market.model_dump_json())
        return ShardStore(variables, made_with, self.copies).advance(0, change), task


def table(records: list[tuple[Record, int]]) -> pa.Table:
    """Bars as the operator hands them on."""
    columns: dict[str, Any] = {
        "symbol": [record.symbol for record, _ in records],
        "interval": ["1m"] * len(records),
        "open_time": [record.slot * MINUTE for record, _ in records],
        **{name: [record.close for record, _ in records] for name in VALUES},
        "fetched_at": [record.fetched_at for record, _ in records],
        "offset": [offset for _, offset in records],
        "arrived_at": [record.at for record, _ in records],
    }
    return pa.table(columns, schema=CHANGE_SCHEMA)


def led(symbol: str, slot: int) -> Window:
    """The window that ends there with all its leaders."""
    closes = tuple(
        (float("nan"),) * 4
        if leader == symbol
        else tuple(close_of(leader, at) for at in range(slot - LOOKBACK, slot + 1))
        for leader in (A, B)
    )
    return Window(symbol, slot, closes)


def test_a_window_comes_with_its_leaders_bars_of_the_same_slots() -> None:
    reader = Reader([[bar(s, slot) for slot in range(10, 15) for s in (A, B, C)]])
    of_c = [one for one in reader.all_at_once() if one.symbol == C]
    assert of_c == [led(C, 13), led(C, 14)]


def test_a_bar_waits_for_its_leaders_newest_and_goes_on_as_soon_as_it_comes() -> None:
    leaders = [bar(s, slot) for slot in range(10, 14) for s in (A, B)]
    reader = Reader([leaders, [bar(C, slot) for slot in range(10, 15)]], Market(leaders=[A, B]))
    assert [one.slot for one in reader.advance(6, 4) if one.symbol == C] == []
    assert reader.waits[-1] == Waits(held=1, until=14 * MINUTE + WAIT_MS)
    assert [one for one in reader.advance(2, 0) if one.symbol == C] == [led(C, 13)]
    assert (reader.waits[-1].came, reader.waits[-1].held) == (1, 0)


def test_a_wait_is_over_when_every_partition_was_read_up_to_its_wake_up() -> None:
    leaders = [bar(s, slot) for slot in range(10, 13) for s in (A, B)]
    follower = [bar(C, slot) for slot in range(10, 14)]
    reader = Reader([[*leaders, wake(13)], [*follower, wake(13)]])
    assert reader.advance(6, 4) == []
    assert reader.advance(0, 1) == []
    assert reader.advance(1, 0) == [Window(C, 13, None)]
    assert (reader.waits[-1].ran_out, reader.waits[-1].held) == (1, 0)


def test_a_wake_up_for_earlier_bars_ends_no_later_wait() -> None:
    leaders = [bar(s, slot) for slot in range(10, 13) for s in (A, B)]
    reader = Reader([[*leaders, wake(13, WAIT_MS - 1)], [bar(C, s) for s in range(10, 14)]])
    assert reader.all_at_once() == []
    assert reader.waits[-1].held == 1


def test_a_leaders_bar_behind_the_wake_up_is_late_for_what_has_waited_and_counts_from_then_on() -> (
    None
):
    late = [*[bar(s, slot) for slot in range(10, 13) for s in (A, B)], wake(13), bar(A, 13)]
    late += [bar(B, 13), *[bar(s, 14) for s in (A, B)]]
    reader = Reader([late, [*(bar(C, slot) for slot in range(10, 15)), wake(13)]])
    of_c = [one for one in reader.all_at_once() if one.symbol == C]
    assert of_c == [Window(C, 13, None), led(C, 14)]


def test_where_a_leader_has_a_newer_bar_nobody_waits_for_a_missing_one() -> None:
    leaders = [bar(A, slot) for slot in range(10, 16)]
    leaders += [bar(B, slot) for slot in (10, 11, 12, 14, 15)]
    reader = Reader([leaders, [bar(C, slot) for slot in range(10, 16)]])
    of_c = [one for one in reader.all_at_once() if one.symbol == C]
    assert of_c == [Window(C, slot, None) for slot in (13, 14, 15)]
    assert reader.waits[-1].held == 0


def test_nobody_waits_for_a_leader_that_began_within_the_window() -> None:
    leaders = [bar(s, slot) for slot in (11, 12) for s in (A, B)]
    reader = Reader([leaders, [bar(C, slot) for slot in range(10, 14)]])
    assert [one for one in reader.all_at_once() if one.symbol == C] == [Window(C, 13, None)]


def test_what_follows_a_bar_that_waits_waits_too_and_nothing_is_skipped() -> None:
    leaders = [bar(s, slot) for slot in range(10, 17) for s in (A, B)]
    reader = Reader([leaders, [bar(C, slot) for slot in range(10, 17)]])
    reader.advance(6, 7)
    assert reader.waits[-1].held == 4
    found = reader.all_at_once()
    assert [one for one in found if one.symbol == C] == [led(C, slot) for slot in range(13, 17)]


def test_a_late_bar_of_the_series_itself_does_not_wait() -> None:
    leaders = [bar(s, slot) for slot in range(10, 15) for s in (A, B)]
    reader = Reader([leaders, [bar(C, slot) for slot in (10, 11, 13, 14, 12)]])
    reader.advance(10, 4)
    assert reader.advance(0, 1) == [led(C, 13), led(C, 14)]


def test_a_leaders_revised_bar_counts_for_the_windows_to_come() -> None:
    leaders = [bar(s, slot) for slot in range(10, 14) for s in (A, B)]
    revised = bar(A, 13, fetched_at=5)._replace(close=7.0)
    leaders += [revised, bar(A, 13), *[bar(s, 14) for s in (A, B)]]
    reader = Reader([leaders, [bar(C, slot) for slot in range(10, 15)]])
    assert [one for one in reader.advance(8, 4) if one.symbol == C] == [led(C, 13)]
    (last,) = [one for one in reader.all_at_once() if one.symbol == C]
    assert last.leaders is not None
    assert last.leaders[0][-2] == 7.0
    assert last.leaders[1] == led(C, 14).leaders[1]  # type: ignore[index]


def test_nobody_waits_where_no_model_reads_leaders_and_what_waited_goes_on() -> None:
    reader = Reader([[], [bar(C, slot) for slot in range(10, 15)]])
    assert reader.advance(0, 4) == []
    reader.wanted = frozenset()
    assert reader.advance(0, 1) == [Window(C, 13, None), Window(C, 14, None)]
    assert reader.waits[-1] == Waits(came=4)


def test_a_leader_may_be_thousands_of_bars_ahead_and_a_follower_too() -> None:
    many = range(10, 5_010)
    log = [[bar(s, slot) for slot in many for s in (A, B)], [bar(C, slot) for slot in many]]
    for first in ((10_000, 0), (0, 5_000)):
        reader = Reader(log)
        reader.advance(*first)
        reader.all_at_once()
        found = [one for one in reader.windows if one.symbol == C]
        assert found == [led(C, slot) for slot in range(13, 5_010)]


def test_a_follower_that_is_too_far_ahead_goes_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaders_module, "HELD_BARS", 3)
    reader = Reader([[], [bar(C, slot) for slot in range(10, 20)]])
    assert reader.all_at_once() == [Window(C, slot, None) for slot in (13, 14, 15, 16)]
    assert reader.waits[-1].held == 3


SLOTS = range(10, 24)


@st.composite
def logs(draw: st.DrawFn) -> list[list[Record]]:
    """Three symbols, each in a partition of its own, with holes; and wake-ups anywhere."""
    log = []
    for symbol in (A, B, C):
        holes = draw(st.sets(st.sampled_from(SLOTS), max_size=4))
        records = [bar(symbol, slot) for slot in SLOTS if slot not in holes]
        for slot in sorted(draw(st.sets(st.sampled_from(SLOTS), max_size=3))):
            records.insert(draw(st.integers(0, len(records))), wake(slot))
        last = wake(SLOTS.stop, MINUTE)
        log.append([*records, last])
    return log


def expected(log: list[list[Record]]) -> list[Window]:
    """Every complete window, with leaders where each of their bars is there and none is late."""
    behind: dict[tuple[str, int], int] = {}
    for records in log:
        read = -1
        for record in records:
            if record.symbol is None:
                read = max(read, record.at)
            else:
                behind[record.symbol, record.slot] = read
    found = []
    for symbol in (A, B, C):
        for slot in SLOTS:
            needed = range(slot - LOOKBACK, slot + 1)
            if not all((symbol, at) in behind for at in needed):
                continue
            deadline = (slot + 1) * MINUTE + WAIT_MS
            others = [leader for leader in (A, B) if leader != symbol]
            there = all(
                behind.get((leader, at), 10**12) < deadline for leader in others for at in needed
            )
            found.append(led(symbol, slot) if there else Window(symbol, slot, None))
    return found


def comparable(windows: list[Window]) -> list[str]:
    return sorted(map(repr, windows))


@settings(max_examples=200)
@given(logs(), st.data())
def test_however_the_log_is_read_the_same_windows_have_leaders(
    log: list[list[Record]], data: st.DataObject
) -> None:
    reader = Reader(log)
    steps = st.tuples(*[st.integers(0, 8)] * len(log), st.booleans())
    for *counts, starts_anew in [*data.draw(st.lists(steps, max_size=8)), (99, 99, 99, True)]:
        left = [len(part) - n for part, n in zip(log, reader.read, strict=True)]
        reader.advance(*map(min, counts, left))
        if starts_anew:
            state = reader.shard.to_bytes()
            reader.shard = Shard.from_bytes(state, LOOKBACK, LATE_BARS, 1, MARKET)
            assert reader.shard.to_bytes() == state
    assert comparable(reader.windows) == comparable(expected(log))


@settings(max_examples=100)
@given(logs(), st.sampled_from((0, 10**9)), st.data())
def test_whoever_dies_in_between_the_same_windows_have_leaders(
    log: list[list[Record]], changes_a_snapshot: int, data: st.DataObject
) -> None:
    def sometimes() -> bool:
        return data.draw(st.booleans())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_store, "CHANGES_A_SNAPSHOT", changes_a_snapshot)
        reader = StoredReader(log, dies=sometimes, forgets=sometimes)
        steps = st.tuples(*[st.integers(0, 8)] * len(log))
        for counts in [*data.draw(st.lists(steps, max_size=6)), (99, 99, 99)]:
            left = [len(part) - n for part, n in zip(log, reader.read, strict=True)]
            reader.advance(*map(min, counts, left))
    assert comparable(reader.windows) == comparable(expected(log))


def test_a_state_of_other_leaders_is_refused_with_what_to_do() -> None:
    state = Reader([[bar(A, 10)]])
    state.all_at_once()
    written = state.shard.to_bytes()
    with pytest.raises(DataLoss, match="about the leaders A-USD, B-USD"):
        Shard.from_bytes(written, LOOKBACK, LATE_BARS, 1, Market(leaders=[A]))
    with pytest.raises(DataLoss, match="version 6"):
        Shard.from_bytes(written, LOOKBACK, LATE_BARS, 1)


def test_a_series_with_leaders_takes_no_more_than_one_without() -> None:
    market = Market(leaders=[A, B])
    own = Shard(60, 60, 1, market)
    records = [(bar(C, slot), slot) for slot in range(1_000)]
    copies = table([]).append_column("partition", pa.array([], pa.int32()))
    own.take(change_of(table(records), Arrived(copies, [], frozenset(), WAIT_MS)), SILENT_MS)
    assert len(own.to_bytes()) <= 6.5 * 1024
    np.testing.assert_equal(own.of("1m").symbols, [C])
