"""The laws of the window state, on literal bars. Lookback 3: a window takes four bars."""

import numpy as np
import pytest

from conf.errors import DataLoss
from jobs.windows import GAP, LATE, WARMING_UP, Emission, NewBars, Shard

SERIES = ("BTC-USD", "1m")


def bars(*slots: int, close: float = 100.0, fetched_at: int = 0) -> NewBars:
    """Bars at these slots; each close is told by its slot unless a `close` is given."""
    at = np.array(slots, dtype=np.int64)
    values = np.full((len(at), 6), close)
    values[:, 3] = close + at
    return NewBars(at, values, np.full(len(at), fetched_at, dtype=np.int64))


def shard() -> Shard:
    return Shard(lookback=3, late_bars=3, shards=4)


def emitted(emissions: list[Emission]) -> list[int]:
    """The slots at which emitted windows end."""
    return [emission.first_slot + int(end) for emission in emissions for end in emission.ends]


def skipped(emissions: list[Emission]) -> list[tuple[int, str]]:
    return [row for emission in emissions for row in emission.skipped]


def feed(state: Shard, *batches: NewBars) -> list[Emission]:
    return [emission for batch in batches for emission in state.update(SERIES, batch)]


def test_a_window_is_emitted_when_its_last_bar_arrives() -> None:
    assert emitted(feed(shard(), bars(10, 11, 12), bars(13), bars(14))) == [13, 14]


def test_one_batch_emits_what_many_batches_emit() -> None:
    assert emitted(feed(shard(), bars(*range(10, 40)))) == emitted(
        feed(shard(), *[bars(slot) for slot in range(10, 40)])
    )


def test_the_first_bars_of_a_series_are_skipped_as_warming_up() -> None:
    assert skipped(feed(shard(), bars(10, 11, 12, 13))) == [
        (10, WARMING_UP),
        (11, WARMING_UP),
        (12, WARMING_UP),
    ]


def test_no_window_crosses_a_gap() -> None:
    #  10 11 12 13 .. 15 16 17 18
    #           ^                ^   the only windows with four bars
    found = feed(shard(), bars(10, 11, 12, 13, 15, 16, 17, 18))
    assert emitted(found) == [13, 18]
    assert [row for row in skipped(found) if row[1] == GAP] == [(15, GAP), (16, GAP), (17, GAP)]


def test_a_late_bar_completes_the_windows_that_waited_for_it() -> None:
    state = shard()
    assert emitted(feed(state, bars(10, 11, 12, 13, 15))) == [13]
    assert emitted(feed(state, bars(14))) == [14, 15]


def test_a_late_bar_repeats_no_emitted_window() -> None:
    state = shard()
    feed(state, bars(11, 12, 13, 14))
    assert emitted(feed(state, bars(10))) == [13]


def test_the_same_bar_twice_emits_nothing_new() -> None:
    state = shard()
    feed(state, bars(10, 11, 12, 13))
    assert emitted(feed(state, bars(13))) == []
    assert skipped(feed(state, bars(12))) == []


def test_a_bar_beyond_the_ring_is_skipped_as_too_late() -> None:
    state = shard()
    feed(state, bars(*range(10, 30)))
    assert skipped(feed(state, bars(22))) == [(22, LATE)]


def test_a_revised_bar_counts_for_the_windows_to_come() -> None:
    state = shard()
    feed(state, bars(10, 11, 12, 13, fetched_at=1))
    feed(state, bars(13, close=200.0, fetched_at=2))
    (emission,) = feed(state, bars(14, fetched_at=1))
    assert emission.bars[:, 3].tolist() == [111.0, 112.0, 213.0, 114.0]


def test_an_older_version_does_not_replace_a_newer_one() -> None:
    state = shard()
    feed(state, bars(10, 11, 12, 13, fetched_at=2))
    feed(state, bars(13, close=200.0, fetched_at=1))
    (emission,) = feed(state, bars(14, fetched_at=2))
    assert emission.bars[:, 3].tolist() == [111.0, 112.0, 113.0, 114.0]


def test_a_silence_longer_than_the_ring_starts_anew_at_no_cost() -> None:
    state = shard()
    found = feed(state, bars(10, 11, 12, 13, 10**9, 10**9 + 1, 10**9 + 2, 10**9 + 3))
    assert emitted(found) == [13, 10**9 + 3]
    assert len(state.to_bytes()) < 1_000


def test_the_emitted_bars_reach_back_just_as_far_as_the_first_window() -> None:
    state = shard()
    feed(state, bars(*range(10, 20)))
    (emission,) = feed(state, bars(20, 21))
    assert (emission.first_slot, len(emission.bars)) == (17, 5)


def test_series_of_one_shard_do_not_mix() -> None:
    state = shard()
    feed(state, bars(10, 11, 12))
    assert emitted(list(state.update(("ETH-USD", "1m"), bars(13)))) == []


def test_a_state_read_back_goes_on_as_if_never_written() -> None:
    state = shard()
    feed(state, bars(10, 11, 12, 13, 15))
    again = Shard.from_bytes(state.to_bytes(), lookback=3, late_bars=3, shards=4)
    assert emitted(feed(again, bars(14))) == emitted(feed(state, bars(14))) == [14, 15]


@pytest.mark.parametrize("settings", [(4, 3, 4), (3, 4, 4), (3, 3, 5)])
def test_a_state_of_other_settings_is_refused_with_what_to_do(
    settings: tuple[int, int, int],
) -> None:
    with pytest.raises(DataLoss, match="start with a new checkpoint_dir"):
        Shard.from_bytes(shard().to_bytes(), *settings)


def test_a_state_of_another_version_is_refused() -> None:
    state = bytes([9]) + shard().to_bytes()[1:]
    with pytest.raises(DataLoss, match="version 9"):
        Shard.from_bytes(state, lookback=3, late_bars=3, shards=4)


def test_a_symbol_at_lookback_60_takes_at_most_6_kb() -> None:
    state = Shard(lookback=60, late_bars=60, shards=4)
    feed(state, bars(*range(1000)))
    assert len(state.to_bytes()) <= 6 * 1024
