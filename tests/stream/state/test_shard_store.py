"""What a worker holds in memory of a shard is what it would read from the store."""

from copy import deepcopy
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.bar import OPTIONAL
from model.features import FEATURES
from model.layout import BAR_COLUMNS, QUOTE_VOLUME
from model.series import VALUES
from stream.state import shard_store
from stream.state.change import CHANGE_COLUMNS
from stream.state.settings import ShardSettings, StateVariables
from stream.state.shard_store import Copy, ShardStore

HOUR_MS = 3_600_000
SETTINGS = ShardSettings(lookback=3, late_bars=3, shards=4, silent_ms=1000 * HOUR_MS)
KEY = 0
FEW_BYTES, MANY_BYTES = 0, 10**9


class Store:
    """Spark's state of one key: what a task has written counts once it is committed."""

    def __init__(self) -> None:
        self.committed: dict[str, Any] = {}
        self.snapshots = 0

    def task(self) -> "Task":
        return Task(self)


class Task:
    """The state handle of one attempt."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held = {**store.committed, "changes": dict(store.committed.get("changes", {}))}

    def commit(self) -> None:
        self._store.committed = self._held

    def getValueState(self, name: str, _: Any) -> Any:  # noqa: N802 - Spark's name
        task = self

        class Value:
            def get(self) -> Any:
                return task._held.get(name)

            def update(self, value: tuple[bytes]) -> None:
                task._held[name] = value
                task._store.snapshots += name == "shard"

        return Value()

    def getMapState(self, name: str, *_: Any) -> Any:  # noqa: N802 - Spark's name
        held = self._held[name]

        class Map:
            getValue = staticmethod(held.get)  # noqa: N815 - Spark's name
            updateValue = staticmethod(held.__setitem__)  # noqa: N815 - Spark's name
            clear = staticmethod(held.clear)

        return Map()


def bars(*arrived: tuple[str, int]) -> pa.Table:
    """A bar each of a symbol and slot."""
    symbols, slots = zip(*arrived, strict=True)
    times = np.array(slots, np.int64) * HOUR_MS
    columns: dict[str, Any] = {name: 100.0 + np.array(slots) for name in VALUES}
    columns |= {"symbol": list(symbols), "interval": ["1h"] * len(slots), "open_time": times}
    columns |= {"fetched_at": times, "arrived_at": times, "offset": np.arange(len(slots))}
    return pa.table({name: columns[name] for name in CHANGE_COLUMNS})


def advance(
    store: Store, copies: dict[int, Copy], micro_batch: pa.Table, committed: bool = True
) -> list[tuple[str, int]]:
    """The windows that one attempt emits, on a worker that holds `copies`."""
    task = store.task()
    variables = StateVariables.of(task, reads_news=False)  # type: ignore[arg-type]
    (advanced,) = ShardStore(variables, SETTINGS, copies).advance(KEY, micro_batch)
    if committed:
        task.commit()
    emission = advanced.emission
    return [(advanced.symbols[r], s) for r, s in zip(emission.rows, emission.slots, strict=True)]


ARRIVALS = st.lists(
    st.lists(
        st.tuples(st.sampled_from(("A-USD", "B-USD")), st.integers(10, 40)), min_size=1, max_size=8
    ),
    min_size=2,
    max_size=8,
)


@settings(deadline=None)  # a worker that starts anew may be slow on a busy machine
@given(ARRIVALS, st.sampled_from((FEW_BYTES, MANY_BYTES)), st.data())
def test_a_worker_that_reads_the_store_emits_what_one_with_a_copy_emits(
    batches: list[list[tuple[str, int]]], changes_a_snapshot: int, data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_store, "CHANGES_A_SNAPSHOT", changes_a_snapshot)
        stores = [Store(), Store(), Store()]
        copies: list[dict[int, Copy]] = [{}, {}, {}]
        for batch in batches:
            emitted = []
            # One worker keeps its copy, one never has any, one has an old one at times.
            for number, keeps in enumerate((True, False, data.draw(st.booleans()))):
                held = deepcopy(copies[number])
                emitted.append(advance(stores[number], held, bars(*batch)))
                if keeps:
                    copies[number] = held
            assert emitted[0] == emitted[1] == emitted[2]


def test_an_attempt_that_was_not_committed_leaves_no_trace() -> None:
    store, copies = Store(), dict[int, Copy]()
    advance(store, copies, bars(("A-USD", 10), ("A-USD", 11), ("A-USD", 12)))
    assert advance(store, copies, bars(("A-USD", 13)), committed=False) == [("A-USD", 13)]
    assert advance(store, copies, bars(("A-USD", 13))) == [("A-USD", 13)]
    assert advance(store, copies, bars(("A-USD", 13))) == []


def test_a_repeated_attempt_writes_the_same_bytes() -> None:
    stores = [Store(), Store()]
    for store, lost in zip(stores, (False, True), strict=True):
        copies: dict[int, Copy] = {}
        advance(store, copies, bars(("A-USD", 10), ("A-USD", 11)))
        if lost:
            advance(store, copies, bars(("A-USD", 12)), committed=False)
        advance(store, copies, bars(("A-USD", 12)))
    assert stores[0].committed == stores[1].committed


def test_the_whole_shard_is_written_only_when_the_changes_have_outgrown_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shard_store, "CHANGES_A_SNAPSHOT", MANY_BYTES)
    store, copies = Store(), dict[int, Copy]()
    for slot in range(10, 15):
        advance(store, copies, bars(("A-USD", slot)))
    assert store.snapshots == 1
    monkeypatch.setattr(shard_store, "CHANGES_A_SNAPSHOT", FEW_BYTES)
    advance(store, copies, bars(("A-USD", 15)))
    assert store.snapshots == 2
    assert store.committed["changes"] == {}


def test_the_window_state_holds_what_training_reads() -> None:
    """A feature is computed from the same fields live and in training."""
    assert set(VALUES) < set(CHANGE_COLUMNS)
    assert len(VALUES) == BAR_COLUMNS
    assert VALUES[QUOTE_VOLUME] == "quote_volume"
    assert {feature.needs for feature in FEATURES} - {None} <= set(VALUES) & set(OPTIONAL)
    assert set(VALUES) - set(OPTIONAL) == {"open", "high", "low", "close", "base_volume"}
