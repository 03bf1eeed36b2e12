"""Hours of an exchange's websocket that goes wrong, in simulated time."""

import heapq
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from itertools import count
from queue import SimpleQueue
from typing import Any, TypeVar

from conf.sections import Ingest
from ingest.bar import Bar
from ingest.budget import RateBudget
from ingest.clock import Clock
from ingest.live import Live, LiveFeed
from ingest.metrics import IngestMetrics
from ingest.plan import bar_feeds
from ingest.poll import Poller
from ingest.publish import Record
from ingest.sources import SourceOptions, open_source
from tests.ingest.exchange_server import MINUTE_MS, PROTOCOLS, Candle, ExchangeServer
from tests.ingest.market_server import SimulatedClock
from tests.ingest.runs import kafka_settings

T = TypeVar("T")
START_MS = 1_600_000_000_000 // 86_400_000 * 86_400_000
FAULTS = (
    *("cut", "away", "silence", "late", "doubled", "out_of_order"),
    *("reopened", "malformed", "foreign"),
)
NO_MESSAGES = ("[]", "null", '"text"', "{", "", '{"e":"kline"}', '{"channel":"ohlc"}')


class LiveClock(SimulatedClock):
    """A clock that stops for each event of `plan` on its way, and for who connects meanwhile."""

    def __init__(self, start_ms: int) -> None:
        super().__init__(start_ms)
        self._plan: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self.connecting: Callable[[], bool] = lambda: False

    def at(self, time_ms: int, do: Callable[[], None]) -> None:
        heapq.heappush(self._plan, (time_ms, next(self._order), do))

    def wait(self, queue: "SimpleQueue[T]", seconds: float) -> T | None:
        until = time.monotonic() + 60
        while self.connecting() and queue.empty():
            assert time.monotonic() < until, "nobody connects"
            time.sleep(0.001)
        if not queue.empty():
            return queue.get()
        until_ms = self.now_ms() + max(1, round(seconds * 1000))
        if self._plan and self._plan[0][0] <= until_ms:
            at_ms, _, do = heapq.heappop(self._plan)
            self.advance(max(0, at_ms - self.now_ms()) / 1000)
            do()
            return None if queue.empty() else queue.get()
        self.advance(seconds)
        return None


class Kept:
    """In place of a broker: what was sent, and when."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.bars: list[tuple[int, Bar]] = []
        self.others: list[Record] = []

    def send(self, records: Any) -> int:
        for record in records:
            if record.topic == "bars":
                self.bars.append((self.clock.now_ms(), Bar.from_json(record.value)))
            else:
                self.others.append(record)
        return len(records)


class Script:
    """What the exchange says, minute by minute, and what of it goes wrong."""

    def __init__(self, server: ExchangeServer, clock: LiveClock, seed: int, every: float) -> None:
        self.server, self.clock = server, clock
        self.dice = random.Random(seed)
        self.every = every
        self.faults: Counter[str] = Counter()
        self.silent_until_ms = 0

    def minute(self, opened_ms: int) -> None:
        """Plan what is said of the minute that opens."""
        self.clock.at(opened_ms + MINUTE_MS, lambda: self.minute(opened_ms + MINUTE_MS))
        fault = self.dice.choice(FAULTS) if self.dice.random() < 1 / self.every else None
        if fault:
            self.faults[fault] += 1
        if fault in ("cut", "away", "silence"):
            wait_ms = self.dice.randrange(2 * MINUTE_MS)
            self.clock.at(opened_ms + wait_ms, lambda: self.gone(fault))
        for symbol in self.server.symbols:
            for candle in self.server.truth(symbol, opened_ms, opened_ms):
                self.candle(symbol, candle, fault)

    def gone(self, fault: str) -> None:
        length_ms = self.dice.randrange(5 * MINUTE_MS)
        if fault == "silence":
            self.silent_until_ms = self.clock.now_ms() + length_ms
            return
        if fault == "away":
            self.server.away = True
            self.clock.at(self.clock.now_ms() + length_ms, self.back)
        self.server.cut()

    def back(self) -> None:
        self.server.away = False

    def candle(self, symbol: str, candle: Candle, fault: str | None) -> None:
        told = self.server.protocol.told
        closes_ms = candle.open_time + MINUTE_MS
        forming = [told(symbol, candle.so_far(share), False) for share in (0.2, 0.6)]
        last = told(symbol, candle, self.server.protocol.says_closed)
        # Who says nothing of a close tells the last state before it.
        says_closed = self.server.protocol.says_closed
        last_ms = closes_ms + (self.dice.randrange(5, 300) if says_closed else -5)
        if fault == "late":
            last_ms += self.dice.randrange(30_000)
        after: list[Any] = []
        if fault == "out_of_order":
            after = [forming[0], forming[1]]
        elif fault == "reopened":
            after = [told(symbol, candle, False), last]
        elif fault == "malformed":
            forming[1] = self.spoilt(forming[1])
            last = self.spoilt(last)
            after = [self.dice.choice(NO_MESSAGES)]
        elif fault == "foreign":
            after = [told("ELSE-USDT", candle, True)]
        twice = 2 if fault == "doubled" else 1
        for at_ms, message in (
            (candle.open_time + 200, forming[0]),
            (candle.open_time + 40_000, forming[1]),
            (last_ms, last),
            *((last_ms + 1 + i, message) for i, message in enumerate(after)),
        ):
            self.clock.at(at_ms, lambda message=message: self.say(*[message] * twice))  # type: ignore[misc]

    def spoilt(self, message: Any) -> Any:
        """A message that is cut off, or one of whose values is another or missing."""
        if self.dice.random() < 0.3:
            text = json.dumps(message)
            return text[: self.dice.randrange(1, len(text))]
        spoilt = json.loads(json.dumps(message))
        inside = spoilt.get("k") or spoilt["data"][0]
        at = self.dice.choice(range(len(inside)) if isinstance(inside, list) else list(inside))
        inside[at] = self.dice.choice([None, "x", -1, {}, [], 1e300])
        return spoilt

    def say(self, *messages: Any) -> None:
        if self.clock.now_ms() >= self.silent_until_ms:
            self.server.say(*messages)


class LiveRun:
    """A poller that listens to an exchange, from start to `minutes` later."""

    def __init__(self, name: str, symbols: list[str], seed: int, every: float) -> None:
        self.clock = LiveClock(START_MS + 10_000)
        self.server = ExchangeServer(PROTOCOLS[name](), symbols, self.clock)
        self.kept = Kept(self.clock)
        self.metrics = IngestMetrics()
        self.script = Script(self.server, self.clock, seed, every)
        self.name = name

    def run(self, minutes: int) -> None:
        random.seed(1)
        settings = Ingest.model_validate(
            {"source": f"exchange:{self.name}", "symbols": self.server.symbols}
            | {"intervals": ["1m"], "backfill_bars": 3, "calls_per": {}}
        )
        with self.server:
            options = SourceOptions(clock=self.clock, base_url=self.server.url, timeout_s=30)
            source = open_source(settings.source, options)
            for symbol in settings.symbols:
                source.named(symbol)
            kafka = kafka_settings("127.0.0.1:1", "bars")
            now_ms = self.clock.now_ms()
            self.feeds = bar_feeds(source, settings, kafka, now_ms, None, LiveFeed)
            live = Live(source, self.feeds, self.clock, self.metrics)
            self.clock.connecting = lambda: self.server.met < live.opened
            self.clock.at(START_MS + MINUTE_MS, lambda: self.script.minute(START_MS + MINUTE_MS))
            kept: Any = self.kept
            poller = Poller(
                *(self.feeds, kept, settings),
                clock=self.clock,
                budget=RateBudget({}, now_ms),
                metrics=self.metrics,
                live=live,
            )
            with closing(live):
                poller.run(START_MS + minutes * MINUTE_MS + 5_000)
        self.until_ms = START_MS + (minutes - 1) * MINUTE_MS

    def wrong(self) -> dict[str, int]:
        """What does not hold of what was published, by its name."""
        found: Counter[str] = Counter()
        bars = [bar for _, bar in self.kept.bars]
        truth = {
            (symbol, c.open_time): c
            for symbol in self.server.symbols
            for c in self.server.truth(symbol, START_MS - 3 * MINUTE_MS, self.until_ms - MINUTE_MS)
        }
        latest = {(bar.symbol, bar.open_time): bar for bar in bars}
        found["missing"] = len(truth.keys() - latest.keys())
        for key, bar in latest.items():
            if key in truth and not same(bar, truth[key], self.name):
                found["wrong"] += 1
            if key not in truth and bar.open_time < self.until_ms - MINUTE_MS:
                found["invented"] += 1
        times = Counter((b.symbol, b.open_time, replace(b, fetched_at=0, source="")) for b in bars)
        found["twice"] = sum(n - 1 for n in times.values())
        found["early"] = sum(at < bar.close_time for at, bar in self.kept.bars)
        newest: dict[str, int] = {}
        for bar in bars:
            first = (bar.symbol, bar.open_time) not in newest  # type: ignore[comparison-overlap]
            newest[bar.symbol, bar.open_time] = 1  # type: ignore[index]
            if first:
                found["disorder"] += bar.open_time < newest.get(bar.symbol, 0)
                newest[bar.symbol] = bar.open_time
        found["revised"] = len(bars) - len(latest) - found["twice"]
        found["rejected"] = len(self.kept.others)
        return {name: number for name, number in found.items() if number}


def same(bar: Bar, candle: Candle, name: str) -> bool:
    """Whether a bar says what REST says, in all fields that the exchange tells."""
    prices = (bar.open, bar.high, bar.low, bar.close, bar.base_volume)
    if prices != candle[1:6]:
        return False
    if name == "kraken":
        return (bar.quote_volume, bar.trades) == (candle.average * candle.volume, candle.trades)
    if name == "okx":
        return bar.quote_volume == candle.quote
    return (bar.quote_volume, bar.trades, bar.taker_base_volume, bar.taker_quote_volume) == (
        candle[6:10]
    )
