"""A wall clock that somebody sets costs one poll, and brings nothing false."""

import logging

import pytest

from tests.ingest.market_server import SimulatedClock
from tests.ingest.polled import MINUTE_MS, Made, Polled, row
from tests.ingest.runs import START_MS

HOURS_2_S = 7_200.0


class Market:
    """A source with a right clock of its own: it has closed bars, and the one that forms."""

    def __init__(self, clock: SimulatedClock) -> None:
        self.clock = clock

    def __call__(self, symbol: str, first_ms: int, last_ms: int) -> list[list[float]]:
        newest_ms = min(last_ms, self.clock.monotonic_ms())
        return [row(time) for time in range(first_ms, newest_ms + 1, MINUTE_MS)]


def polled(clock: SimulatedClock, **options: int) -> Polled:
    return Polled(clock, Made(clock, Market(clock)), **{"backfill_bars": 10, **options})


def set_between(clock: SimulatedClock, by_s: float, first_s: float, last_s: float) -> None:
    """Have the clock be wrong from `first_s` to `last_s` after the start, by the true time."""

    def look(_: float) -> None:
        passed_s = (clock.monotonic_ms() - START_MS) / 1000
        clock.set_by(by_s if first_s <= passed_s < last_s else 0.0)

    clock.before_sleep = look


@pytest.mark.parametrize("by_s", [HOURS_2_S, -HOURS_2_S, 30.0, -30.0, 86_400.0 * 400])
def test_a_clock_that_is_wrong_for_one_poll_costs_at_most_that_poll(
    by_s: float, clock: SimulatedClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "ingest.clock")
    run = polled(clock)
    set_between(clock, by_s, 150, 200)
    minutes = run.until(START_MS + 20 * MINUTE_MS)
    begin = START_MS // MINUTE_MS - 10
    assert minutes == list(range(begin, begin + 29))
    fetched_s = [(bar.fetched_at - bar.close_time) / 1000 for bar in run.topics.bars()[9:]]
    assert min(fetched_s) >= 2
    assert max(fetched_s) < 2 + 60 + 30
    assert "event=clock_step" in caplog.text
    assert run.metric("clock_steps_total") == 1


def test_a_clock_that_is_put_right_is_followed_after_a_minute(clock: SimulatedClock) -> None:
    set_between(clock, -HOURS_2_S, 0, 150)
    clock.set_by(-HOURS_2_S)
    run = polled(clock)
    minutes = run.until(clock.now_ms() + 20 * MINUTE_MS)
    begin = START_MS // MINUTE_MS
    assert minutes == list(range(begin - 130, begin + 19))


def test_what_a_clock_that_went_ahead_took_for_absent_is_asked_for_when_it_is_put_right(
    clock: SimulatedClock,
) -> None:
    set_between(clock, HOURS_2_S, 0, 150)
    clock.set_by(HOURS_2_S)
    run = polled(clock, backfill_bars=200)
    minutes = run.until(clock.now_ms() + 20 * MINUTE_MS)
    newest = START_MS // MINUTE_MS + 18
    assert sorted(set(minutes)) == list(range(newest - 98, newest + 1))


def test_a_series_that_is_polled_once_a_day_follows_a_step_within_minutes() -> None:
    clock = SimulatedClock(START_MS)
    run = polled(clock, period_ms=86_400_000)
    set_between(clock, HOURS_2_S, 600, 10**9)
    run.until(START_MS + 86_400_000 + MINUTE_MS)
    fetched = [bar.fetched_at - START_MS for bar in run.topics.bars()]
    assert any(HOURS_2_S * 1000 < at < (HOURS_2_S + 720) * 1000 for at in fetched)
