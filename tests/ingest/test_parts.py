"""The parts that hold state, each against a plain model of what it should do."""

import json
import math
from contextlib import suppress
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.sections import Kafka
from conf.timeframes import TIMEFRAME_MS
from ingest.bar import Bar
from ingest.bar_feed import BarFeed, Series
from ingest.budget import RateBudget
from ingest.coverage import ABSENT, PUBLISHED, UNKNOWN, Coverage
from ingest.feed import Findings
from ingest.replay import between, in_close_order, paced
from ingest.sources import SourceOptions, Terms
from ingest.sources.api import retry_after_s
from ingest.sources.rows import Answer, Span
from ingest.sources.synthetic import Synthetic
from store.schema import BARS
from tests.ingest.market_server import SimulatedClock

MINUTE_MS = 60_000
finite = st.floats(allow_nan=False, allow_infinity=False)
marks = st.lists(st.tuples(st.integers(-3, 40), st.sampled_from([ABSENT, PUBLISHED])), max_size=60)


@given(st.text(max_size=8), finite, finite, st.none() | finite, st.integers(-(2**60), 2**60))
def test_a_bars_json_is_what_the_standard_library_reads_and_writes(
    symbol: str, price: float, volume: float, quote: float | None, time: int
) -> None:
    bar = Bar(symbol, "1m", time, price, price, price, price, volume, quote, 'a"b', time)
    expected = {"v": 2, **asdict(bar)}
    assert json.loads(bar.to_json()) == expected
    assert list(json.loads(bar.to_json())) == list(expected)
    assert Bar.from_json(bar.to_json()) == Bar.from_json(json.dumps(expected).encode()) == bar


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_bar_that_is_not_finite_has_no_json(value: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        Bar("A-B", "1m", 0, 1.0, 1.0, 1.0, value, 0.0, None, "example", 0).to_json()


@given(*[st.floats()] * 2, *[st.none() | st.floats()] * 3)
def test_a_bar_that_keeps_the_rules_has_a_json_and_a_place_in_the_warehouse(
    price: float, volume: float, quote: float | None, base: float | None, cost: float | None
) -> None:
    bar = Bar("A-B", "1m", 0, *[price] * 4, volume, quote, "example", 0, None, base, cost)
    if bar.rejection_reason(now_ms=MINUTE_MS) is None:
        assert Bar.from_json(bar.to_json()) == bar
        assert all(BARS.allows(name, value) for name, value in bar.fields().items())


@given(marks, st.integers(0, 40))
def test_coverage_is_a_dictionary_of_states(changes: list[tuple[int, int]], first: int) -> None:
    coverage = Coverage(0, MINUTE_MS)
    coverage.reach(29 * MINUTE_MS)
    model = dict.fromkeys(range(30), UNKNOWN)
    for minute, state in changes:
        coverage.mark(minute * MINUTE_MS, state)
        if minute in model:
            model[minute] = state
    coverage.forget_before(first * MINUTE_MS)
    model = {minute: state for minute, state in model.items() if minute >= first}
    unknown = [minute * MINUTE_MS for minute, state in model.items() if state == UNKNOWN]
    assert coverage.oldest(UNKNOWN) == (unknown[0] if unknown else None)
    assert coverage.newest(UNKNOWN) == (unknown[-1] if unknown else None)
    later = [time for time in unknown if time >= 15 * MINUTE_MS]
    assert coverage.oldest(UNKNOWN, 15 * MINUTE_MS) == (later[0] if later else None)
    earlier = [time for time in unknown if time <= 15 * MINUTE_MS]
    assert coverage.newest(UNKNOWN, 15 * MINUTE_MS) == (earlier[-1] if earlier else None)
    assert coverage.count(UNKNOWN, 15 * MINUTE_MS) == len(later)
    assert coverage.count(PUBLISHED) == sum(s == PUBLISHED for s in model.values())
    published = [minute for minute, state in model.items() if state == PUBLISHED]
    newest = published[-1] * MINUTE_MS if published else None
    assert coverage.newest(PUBLISHED) == newest
    assert coverage.gaps() == sum(
        state != PUBLISHED for minute, state in model.items() if published and minute > published[0]
    )


class Shelf:
    """A source that has some bars, and serves pages of a given size."""

    name = "shelf"
    metered = False

    def __init__(self, minutes: set[int], page: int) -> None:
        self.minutes, self.page = minutes, page

    def terms(self, timeframe: str) -> Terms:
        return Terms(self.page)

    def fetch(self, symbol: str, timeframe: str, first_ms: int, last_ms: int) -> Answer:
        assert (last_ms - first_ms) // MINUTE_MS + 1 <= self.page
        bars = [
            Bar(symbol, timeframe, minute * MINUTE_MS, 1.0, 1.0, 1.0, 1.0, 0.0, None, "shelf", 0)
            for minute in sorted(self.minutes)
            if first_ms <= minute * MINUTE_MS <= last_ms
        ]
        return Answer(bars, Span(bars[0].open_time, bars[-1].open_time) if bars else None)


@given(
    there=st.sets(st.integers(0, 59)),
    known=st.sets(st.integers(0, 59)),
    page=st.integers(1, 70),
    overlap=st.integers(0, 10),
)
def test_any_pages_bring_each_missing_bar_once_and_no_known_one(
    there: set[int], known: set[int], page: int, overlap: int
) -> None:
    clock = SimulatedClock(60 * MINUTE_MS)
    series = Series("A-B", "1m", MINUTE_MS, 0)
    feed = BarFeed(series, Shelf(there, page), Kafka(), since_ms=0, overlap_bars=overlap)
    feed.missing(clock.now_ms())
    for bar in Shelf(known, 70).fetch("A-B", "1m", 0, clock.now_ms()):
        feed.saw(bar)
    assert poll(feed, clock) == sorted(there - known)


def poll(feed: BarFeed, clock: SimulatedClock) -> list[int]:
    """Poll once, everything is acknowledged; return the minutes of the bars in their order."""
    brought: list[int] = []
    steps = feed.poll(clock)
    answer = None
    with suppress(StopIteration):
        while True:
            step = steps.send(answer)
            if isinstance(step, Findings):
                found = [Bar.from_json(record.value) for record in step.records]
                brought += [bar.open_time // MINUTE_MS for bar in found]
                answer = None
            else:
                answer = step()
    return brought


def test_a_page_is_marked_only_when_its_bars_are_acknowledged() -> None:
    clock = SimulatedClock(60 * MINUTE_MS)
    series = Series("A-B", "1m", MINUTE_MS, 0)
    feed = BarFeed(series, Shelf({1, 2}, 70), Kafka(), since_ms=0, overlap_bars=5)
    steps = feed.poll(clock)
    found = steps.send(next(steps)())  # type: ignore[operator]
    assert isinstance(found, Findings)
    assert (found.new, feed.newest_close_ms()) == (2, None)
    steps.close()  # the broker was gone until the program was stopped
    assert feed.missing(clock.now_ms()) == 60
    assert poll(feed, clock) == [1, 2]
    assert feed.newest_close_ms() == 3 * MINUTE_MS


@given(st.lists(st.integers(0, 400), min_size=1, max_size=150), st.integers(1, 20))
def test_no_window_of_a_second_sees_more_calls_than_the_limit(
    pauses: list[int], limit: int
) -> None:
    budget = RateBudget({"second": limit}, now_ms=0)
    now, taken = 0, []
    for pause in pauses:
        now += pause
        if budget.take(now) == 0:
            taken.append(now)
    for start in taken:
        assert sum(start <= at < start + 1_000 for at in taken) <= max(limit, 1) + (limit == 1)


def test_a_pause_holds_every_call_back_and_the_longest_wins() -> None:
    budget = RateBudget({"second": 100}, now_ms=0)
    budget.pause(5_000)
    budget.pause(3_000)
    assert budget.take(now_ms=1_000) == 4.0
    assert budget.take(now_ms=5_000) == 0.0


@pytest.mark.parametrize("text", ["", "soon", "Thu, 99 Foo 2020"])
def test_a_retry_after_that_says_nothing_is_none(text: str) -> None:
    assert retry_after_s({"Retry-After": text}) is None


@given(
    first=st.integers(0, 10_000),
    count=st.integers(1, 200),
    cut=st.integers(0, 200),
    timeframe=st.sampled_from(["1m", "5m", "15m"]),
)
def test_any_page_shows_the_same_synthetic_market(
    first: int, count: int, cut: int, timeframe: str
) -> None:
    market = Synthetic(SourceOptions(clock=SimulatedClock(0), argument="7"))
    step = TIMEFRAME_MS[timeframe]
    start, middle, end = first * step, (first + cut) * step, (first + count) * step
    whole = market.fetch("S1-USD", timeframe, start, end - step)
    parts = [
        bar
        for low, high in ((start, min(middle, end) - step), (max(middle, start), end - step))
        for bar in market.fetch("S1-USD", timeframe, low, high)
    ]
    assert whole == parts
    assert len(whole) == count
    assert all(bar.rejection_reason(now_ms=2**60) is None for bar in whole)


def test_an_hour_of_the_synthetic_market_is_its_sixty_minutes() -> None:
    market = Synthetic(SourceOptions(clock=SimulatedClock(0)))
    (hour,) = market.fetch("S1-USD", "1h", 3_600_000, 3_600_000)
    minutes = market.fetch("S1-USD", "1m", 3_600_000, 2 * 3_600_000 - 1)
    assert (hour.open, hour.close) == (minutes[0].open, minutes[-1].close)
    assert (hour.high, hour.low) == (max(m.high for m in minutes), min(m.low for m in minutes))


def test_another_seed_is_another_market() -> None:
    one, other = (
        Synthetic(SourceOptions(clock=SimulatedClock(0), argument=seed)) for seed in ("1", "2")
    )
    assert one.fetch("A-B", "1m", 0, 0) != other.fetch("A-B", "1m", 0, 0)


def bars_of(symbol: str, minutes: list[int]) -> list[Bar]:
    return [
        Bar(symbol, "1m", m * MINUTE_MS, 1.0, 1.0, 1.0, 1.0, 0.0, None, "example", 0)
        for m in minutes
    ]


def test_bars_that_close_together_are_replayed_together_at_the_pace_asked_for() -> None:
    clock = SimulatedClock(0)
    series = [bars_of("A-X", [0, 1, 3]), bars_of("B-X", [0, 3])]
    shown = [
        (round(clock.now_ms() / 100), [bar.symbol for bar in group])
        for group in paced(in_close_order(series), 60, clock)
    ]
    assert shown == [(0, ["A-X", "B-X"]), (10, ["A-X"]), (30, ["A-X", "B-X"])]


def test_a_late_consumer_is_not_waited_for_again() -> None:
    clock = SimulatedClock(0)
    starts = []
    for _ in paced(bars_of("A-X", [0, 1, 2, 3]), 60, clock):
        starts.append(round(clock.now_ms() / 100))
        if len(starts) == 1:
            clock.sleep(2.5)
    assert starts == [0, 25, 25, 30]


def test_a_stretch_includes_its_beginning_and_not_its_end() -> None:
    bars = bars_of("A-X", [0, 1, 2, 3])
    kept = between(bars, MINUTE_MS, 3 * MINUTE_MS)
    assert [bar.open_time // MINUTE_MS for bar in kept] == [1, 2]
