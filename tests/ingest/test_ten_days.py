"""Ten simulated days of an API of which a fifth of all answers is wrong."""

from collections.abc import Callable

from conf.errors import ConfigurationError
from conf.timeframes import TIMEFRAME_MS
from tests.ingest.market_server import LASTING, PASSING, MarketServer, SimulatedClock, faulty
from tests.ingest.runs import DAY_MS, IMPATIENT_S, START_MS, Run, latest, truth

DAYS = 10
INTERVALS = {"BTC-USD": ("1m",), "ETH-USD": ("5m", "15m")}
# A restart looks this far back, 30 hours of minutes: far enough for the longest silence.
BACKFILL_BARS = 1_800


def test_ten_days_of_faults_and_restarts_bring_exactly_the_bars_of_the_good_api(
    new_run: Callable[..., Run], server: MarketServer, clock: SimulatedClock
) -> None:
    server.fault = faulty(7, 0.2, 2 * PASSING + LASTING)
    options = {
        "symbols": list(INTERVALS),
        "intervals_of": INTERVALS,
        "every_s": 7_200,
        "backfill_bars": BACKFILL_BARS,
        "timeout_s": IMPATIENT_S,
    }
    end_ms = START_MS + DAYS * DAY_MS
    while clock.now_ms() < end_ms:
        try:
            new_run(**options).until(min(end_ms, clock.now_ms() + DAY_MS))
        except ConfigurationError:
            clock.sleep(600)  # a person reads the message and starts it again
    server.fault = lambda path: None
    new_run(**options).until(clock.now_ms())

    good: dict = {}
    for symbol, timeframes in INTERVALS.items():
        for timeframe in timeframes:
            first_ms = START_MS - BACKFILL_BARS * TIMEFRAME_MS[timeframe]
            good |= truth(server, symbol, timeframe, first_ms, clock.now_ms())
    found = latest(new_run(**options).published())
    asked = {key for key in good if START_MS <= key[2] < end_ms - 3_600_000}
    assert set(server.faults) == set(PASSING + LASTING)
    assert not asked - set(found)
    assert found == {key: good[key] for key in found}
