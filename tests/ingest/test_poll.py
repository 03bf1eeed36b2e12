"""The poller, on a simulated clock, against a real HTTP server and a real broker."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from conf.errors import ConfigurationError
from ingest.plan import GRACE_MARGIN_S
from ingest.publish import Publisher, Record
from tests.ingest.market_server import MarketServer, SimulatedClock
from tests.ingest.runs import DAY_MS, IMPATIENT_S, KEY, MINUTE_MS, START_MS, Run, latest, truth

NewRun = Callable[..., Run]
GRACE_MS = int((40 + GRACE_MARGIN_S) * 1000)


def times(run: Run, symbol: str = "BTC-USD") -> list[int]:
    return [bar.open_time for bar in run.published() if bar.symbol == symbol]


def test_a_first_start_brings_the_backfill_in_order_and_nothing_twice(
    new_run: NewRun, server: MarketServer
) -> None:
    run = new_run(backfill_bars=4_500)  # three pages, two boundaries
    run.until(START_MS)
    found = times(run)
    # newest closed: 00:00 - 42 s is within the minute 23:59, so 23:58 is the last
    assert found == list(range(START_MS - 4_500 * MINUTE_MS, START_MS - MINUTE_MS, MINUTE_MS))
    assert len(server.calls) == 3
    assert latest(run.published()) == truth(server, "BTC-USD", "1m", found[0], found[-1])


def test_the_forming_bar_is_never_published(new_run: NewRun, clock: SimulatedClock) -> None:
    run = new_run()
    published_at: list[tuple[int, int]] = []
    run.until(START_MS + 5 * MINUTE_MS)
    for bar in run.published():
        published_at.append((bar.close_time, bar.fetched_at))
    assert len(published_at) > 10
    assert all(close_ms + GRACE_MS <= fetched_ms for close_ms, fetched_ms in published_at)


def test_polls_begin_at_the_minute_plus_the_grace_and_do_not_drift(
    new_run: NewRun, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ingest.rounds")
    run = new_run()
    run.until(START_MS + 60 * MINUTE_MS)
    fetched = sorted({bar.fetched_at for bar in run.published()})[1:]
    offsets = [(at - GRACE_MS) % MINUTE_MS for at in fetched]
    assert len(fetched) == 60
    assert max(offsets) < 2_000
    assert len([r for r in caplog.records if "event=poll" in r.getMessage()]) == 61


@pytest.mark.parametrize("away_ms", [MINUTE_MS, 60 * MINUTE_MS, 6 * DAY_MS])
def test_a_restart_fills_what_was_missed_and_repeats_nothing(
    away_ms: int, new_run: NewRun, server: MarketServer, clock: SimulatedClock
) -> None:
    new_run(backfill_bars=9_000).until(START_MS)
    clock.sleep(away_ms / 1000)
    run = new_run(backfill_bars=9_000)
    run.until(clock.now_ms())
    found = times(run)
    assert max(Counter(found).values()) == 1
    assert sorted(found) == list(range(min(found), max(found) + 1, MINUTE_MS))
    assert max(found) >= START_MS + away_ms - 3 * MINUTE_MS


def test_ten_days_away_are_filled_as_far_as_the_api_reaches_back(
    new_run: NewRun, server: MarketServer, clock: SimulatedClock
) -> None:
    new_run().until(START_MS)
    before = max(times(new_run()))
    clock.sleep(10 * 86_400)
    run = new_run(backfill_bars=20_000)
    run.until(clock.now_ms())
    filled = [time for time in times(run) if time > before]
    week_ago = clock.now_ms() - 7 * DAY_MS
    assert filled == list(range(min(filled), max(filled) + 1, MINUTE_MS))
    assert week_ago < min(filled) < week_ago + 3 * MINUTE_MS


def test_ten_days_away_are_filled_whole_where_the_api_keeps_everything(
    new_run: NewRun, clock: SimulatedClock
) -> None:
    new_run(timeframes=("1h",)).until(START_MS)
    clock.sleep(10 * 86_400)
    run = new_run(timeframes=("1h",), backfill_bars=500)
    run.until(clock.now_ms())
    found = sorted(times(run))
    assert found == list(range(found[0], found[-1] + 1, 60 * MINUTE_MS))
    assert len(found) == 500 - 1


def test_a_gap_in_the_middle_is_found_on_the_topic_and_filled(
    new_run: NewRun, server: MarketServer
) -> None:
    hole = {("BTC-USD", START_MS - minute * MINUTE_MS) for minute in (50, 51, 52)}
    server.withheld = set(hole)
    feeds = new_run(backfill_bars=100).until(START_MS)
    assert feeds[0].gaps() == 3
    server.withheld = set()
    run = new_run(backfill_bars=100)
    assert run.until(START_MS)[0].gaps() == 0
    assert sorted(times(run))[48:51] == sorted(time for _, time in hole)


def test_what_the_stream_refuses_on_the_topic_does_not_stand_for_the_true_bar(
    new_run: NewRun, server: MarketServer, clock: SimulatedClock
) -> None:
    run = new_run(backfill_bars=20)
    (good, broken, future, *_) = server.bars("BTC-USD", "1m", START_MS - 8 * MINUTE_MS, START_MS)
    ahead = time.time_ns() // 1_000_000 // MINUTE_MS * MINUTE_MS + DAY_MS
    messages = [
        good.to_json(),
        replace(broken, high=broken.low / 2).to_json(),
        replace(future, fetched_at=ahead).to_json(),
        future.to_json().replace(b'"1m"', b'"2m"'),
        future.to_json() + b" " * 70_000,
        b'{"v":1,"symbol":"BTC-USD"}',
    ]
    with Publisher(run.bootstrap_servers) as publisher:
        publisher.send(Record(run.topic, b"BTC-USD", message) for message in messages)
    assert run.until(START_MS)[0].gaps() == 0
    found = Counter(times(new_run()))
    assert found[good.open_time] == 1
    assert found[broken.open_time] == found[future.open_time] == 1


def test_absent_bars_are_asked_for_again_after_an_hour_then_ever_more_rarely(
    new_run: NewRun, server: MarketServer
) -> None:
    server.withheld = {("BTC-USD", START_MS - 90 * MINUTE_MS)}
    run = new_run(backfill_bars=100, every_s=600)
    run.until(START_MS + DAY_MS)
    wide = [path for path in server.calls if int(path.split("limit=")[1].split("&")[0]) > 60]
    assert len(wide) == 5  # at once, and after 1, 3, 7 and 15 hours


def test_a_bar_that_comes_late_is_published_by_a_later_poll(
    new_run: NewRun, server: MarketServer, clock: SimulatedClock
) -> None:
    late = START_MS + MINUTE_MS
    server.withheld = {("BTC-USD", late)}
    clock.before_sleep = lambda s: (
        server.withheld.clear() if clock.now_ms() > late + 4 * MINUTE_MS else None
    )
    run = new_run()
    feeds = run.until(START_MS + 8 * MINUTE_MS)
    assert times(run).count(late) == 1
    assert feeds[0].gaps() == 0


def test_a_revised_bar_is_published_again_and_wins(
    new_run: NewRun, server: MarketServer, clock: SimulatedClock
) -> None:
    run = new_run()
    run.until(START_MS + 3 * MINUTE_MS)
    revised = max(times(run)) - MINUTE_MS
    server.revised[("BTC-USD", revised)] = 1.25
    run = new_run()
    run.until(START_MS + 6 * MINUTE_MS)
    assert times(run).count(revised) == 2
    assert latest(run.published())[("BTC-USD", "1m", revised)][3] == 1.25
    assert run.metrics.registry.get_sample_value("candlecast_ingest_bars_revised_total") == 1


def test_a_bar_that_breaks_a_rule_is_rejected_once_and_the_rest_goes_on(
    new_run: NewRun, server: MarketServer
) -> None:
    broken = START_MS - 4 * MINUTE_MS
    server.revised[("BTC-USD", broken)] = -1.0
    run = new_run()
    run.until(START_MS + 3 * MINUTE_MS)
    assert broken not in times(run)
    assert run.rejections() == [("low must be a number from 1e-30 to 1e+30", broken)]
    assert len(times(run)) == len(set(times(run))) == 11


def test_a_hundred_symbols_are_polled_within_the_minute_at_the_documented_limits(
    new_run: NewRun, server: MarketServer, clock: SimulatedClock
) -> None:
    server.limits = ((20, 1), (300, 60))
    symbols = [f"S{number:03}-USD" for number in range(100)]
    limits = {"second": 20, "minute": 300}
    run = new_run(symbols=symbols, backfill_bars=3, calls_per=limits)
    run.until(START_MS + 3 * MINUTE_MS)
    assert server.denied == 0
    assert len(server.calls) == 400  # the backfill, and three minutes
    bars = [bar for bar in run.published() if bar.close_time >= START_MS]
    assert Counter(bar.symbol for bar in bars) == dict.fromkeys(symbols, 3)
    assert max(bar.fetched_at - bar.close_time - GRACE_MS for bar in bars) < MINUTE_MS


def test_a_cooldown_holds_back_every_symbol_until_it_is_over(
    new_run: NewRun, server: MarketServer, clock: SimulatedClock
) -> None:
    asked: list[int] = []

    def first_only(path: str) -> str | None:
        asked.append(clock.now_ms())
        return "rate_limit_http200_cooldown" if len(asked) == 1 else None

    server.fault = first_only
    symbols = ("BTC-USD", "ETH-USD", "LTC-USD")
    new_run(symbols=symbols, calls_per={"second": 4}).until(START_MS)  # one call at once
    waits_s = [(at - asked[0]) // 1000 for at in asked]
    assert len(asked) == 4
    assert waits_s[0] == 0
    assert all(406 <= wait_s < 420 for wait_s in waits_s[1:])


def test_one_symbols_trouble_does_not_delay_the_others(
    new_run: NewRun, server: MarketServer, clock: SimulatedClock
) -> None:
    server.fault = lambda path: "http_500" if server.calls[-1].count("fsym=BTC") else None
    run = new_run(symbols=("BTC-USD", "ETH-USD", "LTC-USD"))
    run.until(START_MS + 3 * MINUTE_MS)
    for symbol in ("ETH-USD", "LTC-USD"):
        bars = [bar for bar in run.published() if bar.symbol == symbol]
        live = [bar for bar in bars if bar.close_time >= START_MS]
        assert len(live) == 3
        assert max(bar.fetched_at - bar.close_time - GRACE_MS for bar in live) < 2_000
    assert times(run, "BTC-USD") == []


def test_no_symbol_left_stops_with_the_name_of_the_setting(
    new_run: NewRun, server: MarketServer
) -> None:
    server.fault = lambda path: "unknown_symbol_http200"
    with pytest.raises(ConfigurationError, match=r"ingest\.symbols"):
        new_run().until(START_MS)


def test_the_key_is_in_no_log_line_error_metric_or_url(
    new_run: NewRun, server: MarketServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    faults = iter(["http_500", "reset", "not_json", "rate_limit_http200_old", "timeout"])
    server.key = KEY
    server.stall_s = 0.5
    server.fault = lambda path: next(faults, None)
    run = new_run(symbols=("BTC-USD", "ETH-USD"), timeout_s=IMPATIENT_S)
    run.until(START_MS + MINUTE_MS)
    metrics = [str(metric) for metric in run.metrics.registry.collect()]
    assert "event=call_failed" in caplog.text
    assert KEY not in caplog.text + " ".join(metrics) + " ".join(server.calls)


def test_each_poll_is_one_line_and_the_metrics_agree_with_it(
    new_run: NewRun, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ingest.rounds")
    run = new_run(symbols=("BTC-USD", "ETH-USD"), calls_per={"minute": 300})
    run.until(START_MS + MINUTE_MS)
    lines = [r.getMessage() for r in caplog.records if "event=poll" in r.getMessage()]
    assert [line.split(" late_s")[0] for line in lines] == [
        "event=poll symbols=2 gaps=0 bars=18 articles=0 revised=0 rejected=0 calls=2 errors=0",
        "event=poll symbols=2 gaps=0 bars=2 articles=0 revised=0 rejected=0 calls=2 errors=0",
    ]
    value = run.metrics.registry.get_sample_value
    assert value("candlecast_ingest_bars_published_total") == 20
    assert value("candlecast_ingest_gaps_open") == 0
    assert 42 <= (value("candlecast_ingest_seconds_behind") or 0) < 60
    assert (value("candlecast_ingest_rate_budget_left", {"window": "minute"}) or 0) > 70


def test_a_stop_ends_the_poller_without_an_error(new_run: NewRun, clock: SimulatedClock) -> None:
    run = new_run()
    clock.before_sleep = lambda s: (
        clock.stopping.set() if clock.now_ms() > START_MS + 50_000 else None
    )
    run.until(START_MS + DAY_MS)
    assert 8 <= len(times(run)) <= 12
