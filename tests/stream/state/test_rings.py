"""The laws of the window state, on literal bars. Lookback 3: a window takes four bars."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.errors import DataLoss
from stream.state.rings import GAP, LATE, WARMING_UP, Emission, NewBars, Rings
from stream.state.shard import Shard

SETTINGS = {"lookback": 3, "late_bars": 3, "shards": 4}
HOUR_MS = 3_600_000


def bars(
    *slots: int, symbol: str = "BTC-USD", close: float = 100.0, fetched_at: int = 0, heard: int = 0
) -> NewBars:
    """Bars of one symbol at these slots; each close is `close` plus its slot."""
    at = np.array(slots, dtype=np.int64)
    values = np.full((len(at), 6), close)
    values[:, 3] = close + at
    return NewBars([symbol], np.zeros_like(at), at, values, np.full_like(at, fetched_at), heard)


def together(*parts: NewBars) -> NewBars:
    """Bars of several symbols in one micro-batch."""
    return NewBars(
        [part.symbols[0] for part in parts],
        np.repeat(np.arange(len(parts)), [len(part.slots) for part in parts]),
        np.concatenate([part.slots for part in parts]),
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.fetched_at for part in parts]),
        max(part.newest_arrival for part in parts),
    )


def rings() -> Rings:
    return Rings(lookback=3, late_bars=3)


def emitted(emissions: list[Emission]) -> list[int]:
    """The slots at which emitted windows end."""
    return [slot for emission in emissions for slot in emission.slots.tolist()]


def skipped(emissions: list[Emission]) -> list[tuple[int, str]]:
    return [
        (slot, reason)
        for emission in emissions
        for reason, (_, slots) in emission.skipped.items()
        for slot in slots.tolist()
    ]


def feed(state: Rings, *batches: NewBars) -> list[Emission]:
    return [state.update(batch) for batch in batches]


def test_a_window_is_emitted_when_its_last_bar_arrives() -> None:
    assert emitted(feed(rings(), bars(10, 11, 12), bars(13), bars(14))) == [13, 14]


def test_one_batch_emits_what_many_batches_emit() -> None:
    assert emitted(feed(rings(), bars(*range(10, 40)))) == emitted(
        feed(rings(), *[bars(slot) for slot in range(10, 40)])
    )


def test_the_first_bars_of_a_series_are_skipped_as_warming_up() -> None:
    assert skipped(feed(rings(), bars(10, 11, 12, 13))) == [
        (10, WARMING_UP),
        (11, WARMING_UP),
        (12, WARMING_UP),
    ]


def test_no_window_crosses_a_gap() -> None:
    #  10 11 12 13 .. 15 16 17 18
    #           ^                ^   the only windows with four bars
    found = feed(rings(), bars(10, 11, 12, 13, 15, 16, 17, 18))
    assert emitted(found) == [13, 18]
    assert [row for row in skipped(found) if row[1] == GAP] == [(15, GAP), (16, GAP), (17, GAP)]


def test_a_late_bar_completes_the_windows_that_waited_for_it() -> None:
    state = rings()
    assert emitted(feed(state, bars(10, 11, 12, 13, 15))) == [13]
    assert emitted(feed(state, bars(14))) == [14, 15]


def test_a_late_bar_repeats_no_emitted_window() -> None:
    state = rings()
    feed(state, bars(11, 12, 13, 14))
    assert emitted(feed(state, bars(10))) == [13]


def test_the_same_bar_twice_emits_nothing_new() -> None:
    state = rings()
    feed(state, bars(10, 11, 12, 13))
    assert emitted(feed(state, bars(13))) == []
    assert skipped(feed(state, bars(12))) == []


def test_a_bar_beyond_the_ring_is_skipped_as_too_late() -> None:
    state = rings()
    feed(state, bars(*range(10, 30)))
    assert skipped(feed(state, bars(22))) == [(22, LATE)]


def test_a_revised_bar_counts_for_the_windows_to_come() -> None:
    state = rings()
    feed(state, bars(10, 11, 12, 13, fetched_at=1))
    feed(state, bars(13, close=200.0, fetched_at=2))
    (emission,) = feed(state, bars(14, fetched_at=1))
    assert emission.bars[:, 3].tolist() == [111.0, 112.0, 213.0, 114.0]


def test_an_older_version_does_not_replace_a_newer_one() -> None:
    state = rings()
    feed(state, bars(10, 11, 12, 13, fetched_at=2))
    feed(state, bars(13, close=200.0, fetched_at=1))
    (emission,) = feed(state, bars(14, fetched_at=2))
    assert emission.bars[:, 3].tolist() == [111.0, 112.0, 113.0, 114.0]


def test_a_silence_longer_than_the_ring_starts_anew_at_no_cost() -> None:
    state = rings()
    found = feed(state, bars(10, 11, 12, 13, 10**9, 10**9 + 1, 10**9 + 2, 10**9 + 3))
    assert emitted(found) == [13, 10**9 + 3]
    assert emitted(feed(state, bars(10**9 + 4))) == [10**9 + 4]
    assert state.slots.prices.shape == (1, state.ring_length, 4)


def test_the_emitted_bars_reach_back_just_as_far_as_the_first_window() -> None:
    state = rings()
    feed(state, bars(*range(10, 20)))
    (emission,) = feed(state, bars(20, 21))
    assert emission.bars[:, 3].tolist() == [117.0, 118.0, 119.0, 120.0, 121.0]
    assert emission.ends.tolist() == [3, 4]


def test_symbols_of_one_shard_do_not_mix() -> None:
    state = rings()
    feed(state, bars(10, 11, 12))
    assert emitted(feed(state, bars(13, symbol="ETH-USD"))) == []


SYMBOLS = ("A-USD", "B-USD", "C-USD")
ARRIVALS = st.lists(
    st.dictionaries(st.sampled_from(SYMBOLS), st.sets(st.integers(10, 45), min_size=1), min_size=1),
    min_size=1,
    max_size=6,
)


@given(ARRIVALS)
def test_symbols_updated_together_emit_what_each_emits_alone(
    batches: list[dict[str, set[int]]],
) -> None:
    shared, alone = rings(), {symbol: rings() for symbol in SYMBOLS}
    for batch in batches:
        parts = [bars(*sorted(slots), symbol=symbol) for symbol, slots in batch.items()]
        both = shared.update(together(*parts))
        names = np.array(shared.symbols)
        for part in parts:
            (symbol,) = part.symbols
            own = alone[symbol].update(part)
            mine = names[both.rows] == symbol
            assert both.slots[mine].tolist() == own.slots.tolist()
            windows = both.bars[both.ends[mine][:, None] + np.arange(-3, 1)]
            expected = own.bars[own.ends[:, None] + np.arange(-3, 1)]
            np.testing.assert_array_equal(windows, expected)
            for reason, (rows, slots) in both.skipped.items():
                of_symbol = slots[names[rows] == symbol].tolist()
                assert of_symbol == own.skipped[reason][1].tolist()


def shard(*batches: NewBars) -> Shard:
    state = Shard(**SETTINGS)
    for batch in batches:
        state.of("1h").update(batch)
    return state


def test_a_state_read_back_goes_on_as_if_never_written() -> None:
    state = shard(bars(10, 11, 12, 13, 15), bars(20, symbol="ETH-USD"))
    again = Shard.from_bytes(state.to_bytes(), **SETTINGS)
    assert again.to_bytes() == state.to_bytes()
    late = [feed(each.of("1h"), bars(14), bars(21)) for each in (again, state)]
    assert emitted(late[0]) == emitted(late[1]) == [14, 15]


@pytest.mark.parametrize("changed", [{"lookback": 4}, {"late_bars": 4}, {"shards": 5}])
def test_a_state_of_other_settings_is_refused_with_what_to_do(changed: dict[str, int]) -> None:
    with pytest.raises(DataLoss, match="start with a new checkpoint_dir"):
        Shard.from_bytes(shard().to_bytes(), **(SETTINGS | changed))


def test_a_state_of_another_version_is_refused() -> None:
    state = bytes([9]) + shard().to_bytes()[1:]
    with pytest.raises(DataLoss, match="version 9"):
        Shard.from_bytes(state, **SETTINGS)


def test_a_symbol_at_lookback_60_takes_at_most_6_kb() -> None:
    state = Shard(lookback=60, late_bars=60, shards=4)
    state.of("1m").update(bars(*range(1000)))
    assert len(state.to_bytes()) <= 6 * 1024


def test_a_series_that_stays_silent_leaves_the_state() -> None:
    state = shard(bars(10, heard=0), bars(10, symbol="ETH-USD", heard=50 * HOUR_MS))
    assert state.forget_silent(now_ms=50 * HOUR_MS, silent_ms=51 * HOUR_MS) == 0
    assert state.forget_silent(now_ms=50 * HOUR_MS, silent_ms=49 * HOUR_MS) == 1
    assert state.of("1h").symbols == ["ETH-USD"]
    assert emitted(feed(state.of("1h"), bars(11, 12, 13, symbol="ETH-USD"))) == [13]


def test_no_series_is_forgotten_while_its_ring_may_complete_a_window() -> None:
    state = shard(bars(10, 11, 12, heard=0))
    ring_ms = state.of("1h").ring_length * HOUR_MS
    assert state.forget_silent(now_ms=ring_ms, silent_ms=1) == 0
    assert state.forget_silent(now_ms=ring_ms + 1, silent_ms=1) == 1
