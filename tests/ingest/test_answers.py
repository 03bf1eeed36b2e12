"""What a source's answers may be: broken in one row, cut short, refused, or not offered."""

import logging
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conf.errors import ConfigurationError, NotOffered, SourceUnavailable
from conf.sections import Ingest
from ingest.bar_feed import Series
from ingest.check import check_source
from ingest.sources.rows import UNREADABLE_ROW
from tests.ingest.market_server import SimulatedClock
from tests.ingest.polled import MINUTE_MS, Made, Polled, every_minute, row
from tests.ingest.runs import START_MS

FIRST_MS = START_MS - 10 * MINUTE_MS
HOUR_MS = 3_600_000

BROKEN: list[Any] = [
    [FIRST_MS, 10.0, 12.0, 9.0, None, 1.5, None],
    [FIRST_MS, 10.0, 12.0, 9.0, 11.0, None, None],
    [FIRST_MS, "ten", 12.0, 9.0, 11.0, 1.5, None],
    [FIRST_MS, 10.0, 12.0, 9.0, 11.0, 1.5, "much"],
    [FIRST_MS, True, 12.0, 9.0, 11.0, 1.5, None],
    [FIRST_MS, 10**400, 12.0, 9.0, 11.0, 1.5, None],
    [FIRST_MS, 10.0],
    [FIRST_MS, *[1.797e308] * 4, 1.5, None],
    [FIRST_MS, *[5e-324] * 4, 1.5, None],
    [FIRST_MS, 10.0, 12.0, 9.0, 11.0, 1e308, 1.7e308],
    [FIRST_MS, 10.0, 12.0, 9.0, 11.0, 1.5, None, None, 1e308, 1.7e308],
    [FIRST_MS, {}, [], "", "1_0", "nan", "inf"],
    [FIRST_MS + 1, 10.0, 12.0, 9.0, 11.0, 1.5, None],
]
UNREADABLE: list[Any] = [
    [None, 10.0, 12.0, 9.0, 11.0, 1.5, None],
    ["soon", 10.0, 12.0, 9.0, 11.0, 1.5, None],
    [math.nan, 10.0, 12.0, 9.0, 11.0, 1.5, None],
    [1e300, 10.0, 12.0, 9.0, 11.0, 1.5, None],
    [],
    None,
    "row",
    {"time": FIRST_MS},
]


@pytest.mark.parametrize("bad", BROKEN + UNREADABLE, ids=repr)
def test_a_row_that_is_no_bar_is_rejected_with_its_reason_and_the_others_are_published(
    bad: Any, clock: SimulatedClock
) -> None:
    good = every_minute("", FIRST_MS + MINUTE_MS, START_MS)
    polled = Polled(clock, Made(clock, lambda symbol, first, last: [good[0], bad, *good[1:]]))
    minutes = polled.until(START_MS)
    assert minutes == [time // MINUTE_MS for time, *_ in good[:-2]]
    ((reason, seen),) = polled.topics.rejected()
    assert (reason == UNREADABLE_ROW) == (bad in UNREADABLE)
    assert seen
    assert polled.metric("rejected_total", kind="bars", reason=reason) == 1


def test_a_rejected_row_is_sent_once_however_often_it_is_seen(clock: SimulatedClock) -> None:
    def rows(symbol: str, first_ms: int, last_ms: int) -> list[Any]:
        return [None, row(FIRST_MS + MINUTE_MS, close=-1.0), *every_minute("", first_ms, last_ms)]

    polled = Polled(clock, Made(clock, rows))
    polled.until(START_MS + 3 * MINUTE_MS)
    assert len(polled.topics.rejected()) == 1


def test_an_answer_of_which_no_row_can_be_read_says_nothing_about_any_bar(
    clock: SimulatedClock,
) -> None:
    source = Made(clock, lambda symbol, first, last: [None, {}])
    with pytest.raises(SourceUnavailable, match="no row for BTC-USD can be read"):
        source.fetch("BTC-USD", "1m", FIRST_MS, START_MS)


@pytest.mark.parametrize(
    "oldest", [START_MS * 1_000, START_MS * 1_000_000, 2**52, -1, "soon", None, math.nan]
)
def test_a_check_tells_no_day_by_a_row_whose_time_is_none(
    oldest: Any, clock: SimulatedClock
) -> None:
    def rows(symbol: str, first_ms: int, last_ms: int) -> list[Any]:
        old = last_ms < FIRST_MS
        return [[oldest, 1.0], None] if old else every_minute("", first_ms, last_ms)

    series = Series("BTC-USD", "1m", MINUTE_MS, 0)
    said = check_source(Made(clock, rows), series, Ingest(), clock.now_ms())
    assert "bars=3/3" in said
    assert 'history_from="not told"' in said


def test_a_bar_before_the_earliest_day_is_rejected(clock: SimulatedClock) -> None:
    polled = Polled(clock, Made(clock, every_minute), earliest_ms=START_MS - 4 * MINUTE_MS)
    assert polled.until(START_MS)[0] == (START_MS - 4 * MINUTE_MS) // MINUTE_MS


@settings(max_examples=60)
@example(traded={0, 1, 2, 54, 55, 56}, most=1, newest=False, chunk=7)
@given(
    traded=st.sets(st.integers(0, 59)),
    most=st.integers(1, 70),
    newest=st.booleans(),
    chunk=st.sampled_from([7, 24, 60]),
)
def test_however_a_source_cuts_its_answers_each_bar_comes_once(
    traded: set[int], most: int, newest: bool, chunk: int
) -> None:
    clock = SimulatedClock(START_MS)
    begin = START_MS // MINUTE_MS - 60

    def rows(symbol: str, first_ms: int, last_ms: int) -> list[Any]:
        """At most so many, the first or the newest, and of one chunk of time alone."""
        first, last = first_ms // MINUTE_MS - begin, last_ms // MINUTE_MS - begin
        found = [n for n in sorted(traded) if first <= n <= last]
        found = [n for n in found if n // chunk == found[0] // chunk]
        return [row((begin + n) * MINUTE_MS) for n in (found[-most:] if newest else found[:most])]

    polled = Polled(clock, Made(clock, rows, page_bars=70), backfill_bars=60)
    # The newest bars of a series with silent minutes are left to the next polls, for as long as
    # those overlap.
    assert sorted(polled.until(START_MS + 5 * MINUTE_MS)) == [begin + n for n in sorted(traded)]
    assert polled.poller.unanswered == {}


def test_a_source_that_gives_fewer_than_it_says_is_asked_on(clock: SimulatedClock) -> None:
    source = Made(clock, lambda s, first, last: every_minute(s, first, last)[:300])
    polled = Polled(clock, source, backfill_bars=2_000)
    minutes = polled.until(START_MS)
    assert len(minutes) == len(set(minutes)) == 1_999
    assert polled.metric("answers_cut_total") == 4  # of four pages


def test_a_series_with_minutes_without_a_trade_costs_no_second_call_a_poll(
    clock: SimulatedClock,
) -> None:
    def rows(symbol: str, first_ms: int, last_ms: int) -> list[Any]:
        return [one for one in every_minute(symbol, first_ms, last_ms) if one[0] % 180_000 == 0]

    polled = Polled(clock, Made(clock, rows), backfill_bars=100)
    source_calls = polled.metrics.registry.get_sample_value
    polled.until(START_MS)
    before = source_calls("candlecast_ingest_api_calls_total") or 0
    polled.until(START_MS + 60 * MINUTE_MS)
    calls = (source_calls("candlecast_ingest_api_calls_total") or 0) - before
    assert calls <= 62


def test_a_symbol_that_is_not_offered_is_named_left_out_and_asked_for_again(
    clock: SimulatedClock, caplog: pytest.LogCaptureFixture
) -> None:
    def rows(symbol: str, first_ms: int, last_ms: int) -> list[Any]:
        if symbol == "XYZ-USD" and clock.now_ms() < START_MS + 2 * HOUR_MS:
            raise NotOffered("no market XYZ-USD")
        return every_minute(symbol, first_ms, last_ms)

    source = Made(clock, rows)
    polled = Polled(clock, source, ("XYZ-USD", "ETH-USD"))
    polled.until(START_MS + 5 * MINUTE_MS)
    assert len([one for one in source.asked if one[0] == "XYZ-USD"]) == 1
    assert polled.poller.unanswered == {"XYZ-USD 1m": "no market XYZ-USD"}
    assert polled.metric("series_left_out") == 1
    assert 'event=not_offered feed="XYZ-USD 1m"' in caplog.text
    polled.poller.run(START_MS + 4 * HOUR_MS)
    assert {bar.symbol for bar in polled.topics.bars()} == {"XYZ-USD", "ETH-USD"}
    assert polled.metric("series_left_out") == 0


def test_a_passing_not_found_costs_a_symbol_that_had_bars_a_minute(clock: SimulatedClock) -> None:
    def rows(symbol: str, first_ms: int, last_ms: int) -> list[Any]:
        if clock.now_ms() // MINUTE_MS == START_MS // MINUTE_MS + 3:
            raise NotOffered("404")
        return every_minute(symbol, first_ms, last_ms)

    polled = Polled(clock, Made(clock, rows))
    minutes = polled.until(START_MS + 6 * MINUTE_MS)
    first = FIRST_MS // MINUTE_MS
    assert minutes == list(range(first, first + 15))


def test_a_refusal_after_a_start_that_worked_ends_ingest_only_when_it_stays(
    clock: SimulatedClock,
) -> None:
    refused: list[int] = []

    def rows(symbol: str, first_ms: int, last_ms: int) -> list[Any]:
        if clock.now_ms() > START_MS + 10 * MINUTE_MS:
            refused.append(clock.now_ms())
            raise ConfigurationError("the source refuses the key")
        return every_minute(symbol, first_ms, last_ms)

    polled = Polled(clock, Made(clock, rows))
    with pytest.raises(ConfigurationError, match="refuses the key"):
        polled.until(START_MS + 5 * HOUR_MS)
    assert HOUR_MS <= refused[-1] - refused[0] < HOUR_MS + 2 * MINUTE_MS


@pytest.mark.parametrize("defect", [TypeError("no"), AttributeError("no"), KeyError("no")])
def test_a_defect_of_a_source_ends_the_program_and_is_never_tried_again(
    defect: Exception, clock: SimulatedClock
) -> None:
    def rows(symbol: str, first_ms: int, last_ms: int) -> list[Any]:
        raise defect

    source = Made(clock, rows)
    with pytest.raises(type(defect)):
        Polled(clock, source).until(START_MS)
    assert len(source.asked) == 1


def test_a_page_that_was_given_up_on_is_named_at_the_end(
    clock: SimulatedClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ingest.rounds")

    def rows(symbol: str, first_ms: int, last_ms: int) -> list[Any]:
        if first_ms == FIRST_MS:
            raise SourceUnavailable("down")
        return every_minute(symbol, first_ms, last_ms)

    polled = Polled(clock, Made(clock, rows, page_bars=5))
    minutes = polled.until(START_MS)
    assert minutes[-1] == START_MS // MINUTE_MS - 2
    assert polled.poller.unanswered == {"BTC-USD 1m": "down"}
    assert polled.metric("gave_up_total") == 1
    assert "cuts=0 gave_up=1" in caplog.text


def test_a_series_without_a_bar_is_behind_since_the_start(clock: SimulatedClock) -> None:
    def rows(symbol: str, first_ms: int, last_ms: int) -> list[Any]:
        raise SourceUnavailable("down")

    polled = Polled(clock, Made(clock, rows))
    polled.until(START_MS + 30 * MINUTE_MS)
    assert (polled.metric("seconds_behind") or 0) >= 29 * 60
