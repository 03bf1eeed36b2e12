"""Who is waited for comes first; and the stream's wake-ups are no bars."""

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.wake import read_wake, wake_message
from tests.ingest.market_server import SimulatedClock
from tests.ingest.polled import MINUTE_MS, Made, Polled, every_minute


def test_in_every_round_the_first_series_are_asked_and_published_first(
    clock: SimulatedClock,
) -> None:
    symbols = ("LEADER-USD", "A-USD", "B-USD")
    polled = Polled(clock, Made(clock, every_minute), symbols)
    polled.until(clock.now_ms() + 3 * MINUTE_MS)
    of_minute = groupby(polled.topics.bars()[3 * 10 :], key=lambda bar: bar.open_time)
    rounds = [[bar.symbol for bar in bars] for _, bars in of_minute]
    assert rounds == [list(symbols)] * 2


@given(st.integers(0, 2**61), st.integers(1, 1_000))
def test_a_wake_up_says_what_it_was_given(until_ms: int, partitions: int) -> None:
    assert read_wake(wake_message(until_ms, partitions)) == (until_ms, partitions)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b'{"v":1}',
        b'{"v":1,"wake":',
        b'{"v":1,"wake":7}',
        b'{"v":1,"wake":true,"partitions":4}',
        b'{"v":1,"wake":7,"partitions":0}',
        b'{"v":1,"wake":-1,"partitions":4}',
        b'{"v":1,"wake":9223372036854775807,"partitions":4}',
    ],
)
def test_what_is_no_wake_up_ends_no_wait(value: bytes | None) -> None:
    assert read_wake(value) is None
