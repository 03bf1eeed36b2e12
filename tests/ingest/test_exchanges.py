"""Every exchange of ccxt brings all of a backfill in one run, or is refused at start by name."""

import os
import time

import ccxt
import pytest

from conf.errors import ConfigurationError
from ingest.sources import SourceOptions, open_source
from tests.ingest.exchanges import (
    EVERY,
    MINUTE_MS,
    OWN_ANSWERS,
    as_described,
    described,
    load_markets,
    on_the_wire,
    symbol_at,
)
from tests.ingest.market_server import SimulatedClock
from tests.ingest.polled import Polled

BACKFILL_BARS = 2_000
# All of them are `make exchanges`.
CHOSEN = EVERY if os.environ.get("EVERY_EXCHANGE") else EVERY[::6]


def backfilled(name: str, clock: SimulatedClock) -> list[int]:
    """The minutes of a first run with `--once`, in their order."""
    source = open_source(f"exchange:{name}", SourceOptions(clock=clock))
    source.terms("1m")
    symbol = source.named(symbol_at(name).lower())
    assert symbol == symbol_at(name)
    polled = Polled(clock, source, [symbol], backfill_bars=BACKFILL_BARS)
    minutes = polled.until(clock.now_ms())
    assert polled.poller.unanswered == {}
    assert polled.topics.rejected() == []
    return minutes


def now() -> SimulatedClock:
    """Half a minute after a minute of today: some exchanges look at the real clock."""
    return SimulatedClock(time.time_ns() // 1_000_000 // MINUTE_MS * MINUTE_MS - MINUTE_MS // 2)


@pytest.mark.parametrize("name", CHOSEN)
def test_an_exchange_that_cuts_as_ccxt_describes_it_brings_2000_bars_at_once(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = now()
    kind = getattr(ccxt, name)
    monkeypatch.setattr(kind, "load_markets", load_markets)
    monkeypatch.setattr(kind, "fetch_ohlcv", as_described(name, clock.now_ms))
    if "1m" not in described(name).timeframes:
        with pytest.raises(ConfigurationError, match=rf"exchange:{name} has no bars of 1m"):
            backfilled(name, clock)
        return
    minutes = backfilled(name, clock)
    assert minutes == list(range(minutes[-1] - BACKFILL_BARS + 1, minutes[-1] + 1))
    assert minutes[-1] == clock.now_ms() // MINUTE_MS - 1


@pytest.mark.parametrize("name", sorted(set(OWN_ANSWERS) - {"kraken"}))
def test_answers_in_an_exchanges_own_form_bring_2000_bars_at_once(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = now()
    monkeypatch.setattr(getattr(ccxt, name), "load_markets", load_markets)
    monkeypatch.setattr(getattr(ccxt, name), "fetch", on_the_wire(OWN_ANSWERS[name], clock.now_ms))
    minutes = backfilled(name, clock)
    assert sorted(minutes) == list(range(minutes[-1] - BACKFILL_BARS + 1, minutes[-1] + 1))


def test_of_an_exchange_that_keeps_only_the_newest_bars_all_of_them_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = now()
    monkeypatch.setattr(ccxt.kraken, "load_markets", load_markets)
    monkeypatch.setattr(ccxt.kraken, "fetch", on_the_wire(OWN_ANSWERS["kraken"], clock.now_ms))
    minutes = backfilled("kraken", clock)
    newest = clock.now_ms() // MINUTE_MS - 1
    assert minutes == list(range(newest - 718, newest + 1))


def test_an_exchange_without_candles_is_refused_by_name(clock: SimulatedClock) -> None:
    (name, *_) = [name for name in ccxt.exchanges if name not in EVERY]
    with pytest.raises(ConfigurationError, match=rf"ingest\.source exchange:{name}"):
        open_source(f"exchange:{name}", SourceOptions(clock=clock))
