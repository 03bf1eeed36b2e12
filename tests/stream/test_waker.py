"""When a wake-up is sent: once what waits has waited, by a clock that a test moves on."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import cast

import pytest
from pyspark.sql import DataFrame

from conf.errors import BrokerUnavailable
from ingest.publish import Publisher, Record
from ingest.wake import read_wake
from stream.metrics import WrittenMicroBatch
from stream.micro_batch import MicroBatch
from stream.operator_rows import WAITED, WAITS, WINDOWS
from stream.waker import Waker
from tests.ingest.market_server import SimulatedClock

START_MS = 1_700_000_000_000


class Topic(Publisher):
    """A topic of three partitions, as a broker would hold it; it fails with `error`, if any."""

    def __init__(self) -> None:
        super().__init__("none:1")
        self.records: list[Record] = []
        self.error: Exception | None = None

    def partitions(self, topic: str) -> int:
        return 3

    def send(self, records: Iterable[Record]) -> int:
        if self.error is not None:
            raise self.error
        taken = list(records)
        self.records += taken
        return len(taken)

    def untils(self) -> list[int]:
        """Until when each wake-up was, each of which stands in every partition."""
        assert [record.partition for record in self.records] == [0, 1, 2] * (len(self.records) // 3)
        wakes = [read_wake(record.value) for record in self.records[::3]]
        return [wake[0] for wake in wakes if wake is not None]


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(START_MS)


@pytest.fixture
def topic() -> Topic:
    return Topic()


@pytest.fixture
def waker(topic: Topic, clock: SimulatedClock) -> Waker:
    """It has sent the wake-up of its start."""
    made = Waker(topic, "bars", wait_s=2.0, clock=clock)
    made.send_due()
    assert topic.untils() == [0]
    topic.records.clear()
    return made


def waiting(until_ms: int) -> WrittenMicroBatch:
    return WrittenMicroBatch(0, 0, 0, waiting={7: 1}, wait_until=until_ms)


def sent_after(waker: Waker, topic: Topic, clock: SimulatedClock) -> list[float]:
    """How many seconds later wake-ups were sent, looked at each tenth."""
    found = []
    for tenth in range(41):
        before = len(topic.records)
        waker.send_due()
        found += [tenth / 10] * (len(topic.records) > before)
        clock.advance(0.1)
    return found


@pytest.mark.parametrize(
    ("until_s", "sent_s"), [(1.5, [1.5]), (0.0, [0.0]), (-3_600, [0.0]), (3_600, [2.0])]
)
def test_a_wake_up_is_sent_when_the_wait_is_over_and_a_wrong_clock_prolongs_none(
    waker: Waker, topic: Topic, clock: SimulatedClock, until_s: float, sent_s: list[float]
) -> None:
    until_ms = START_MS + round(until_s * 1000)
    waker.written(waiting(until_ms))
    assert sent_after(waker, topic, clock) == sent_s
    assert topic.untils() == [until_ms]


def test_what_the_shards_say_of_a_micro_batch_is_what_is_waited_for(
    waker: Waker, topic: Topic, clock: SimulatedClock
) -> None:
    rows = [
        (WAITS, f"7 {START_MS + 500}", 3, None, None),
        (WAITS, f"5 {START_MS + 1_500}", 2, None, None),
        (WAITED, "ran_out", 4, None, None),
        (WINDOWS, "1m", 7, 21, 0),
    ]
    selected = SimpleNamespace(collect=lambda: rows)
    forecast = cast(DataFrame, SimpleNamespace(select=lambda *columns: selected))
    counts = MicroBatch(forecast, "query", 1, {}).counts
    assert (counts.waiting, counts.waited, counts.predictions) == ({7: 3, 5: 2}, {"ran_out": 4}, 21)
    waker.written(counts)
    assert sent_after(waker, topic, clock) == [1.5]
    assert topic.untils() == [START_MS + 1_500]


def test_nothing_is_sent_while_nothing_waits_or_twice(
    waker: Waker, topic: Topic, clock: SimulatedClock
) -> None:
    waker.written(WrittenMicroBatch(5, 5, 0))
    assert sent_after(waker, topic, clock) == []
    for _ in range(3):
        waker.written(waiting(clock.now_ms() + 1_000))
    assert sent_after(waker, topic, clock) == [1.0]


def test_of_several_that_are_due_the_latest_is_sent(
    waker: Waker, topic: Topic, clock: SimulatedClock
) -> None:
    for until_s in (1, 2):
        waker.written(waiting(START_MS + until_s * 1_000))
    assert waker.left_ms() == 1_000
    clock.advance(2)
    waker.send_due()
    assert topic.untils() == [START_MS + 2_000]


@pytest.mark.parametrize("error", [BrokerUnavailable("away"), OSError("no route")])
def test_a_wake_up_that_no_broker_took_is_sent_again(
    waker: Waker, topic: Topic, clock: SimulatedClock, error: Exception
) -> None:
    waker.written(waiting(START_MS))
    topic.error = error
    waker.send_due()
    topic.error = None
    assert sent_after(waker, topic, clock) == [1.0]
    assert topic.untils() == [START_MS]
