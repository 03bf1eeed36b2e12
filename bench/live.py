"""Live: from a bar's publication to its prediction, beside Spark passing the same bars through.

The job and two passthroughs, one as people write it and one with the job's own fetch wait, run at
the same time and are never busy at the same time: a minute's bars go to the one as one group, as
`ingest` sends them, and once all outputs can be read and it had time to finish, to the next. The
time of a bar is the broker's for its message (LogAppendTime); that of an output is the
same broker's for the last message that belongs to the bar, when any consumer may read it.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from bench.job import Job, spark_program
from bench.networks import HORIZONS, LOOKBACK
from bench.outputs import end_offsets, read_records
from bench.series import FIRST_OPEN_MS, MINUTE_MS, PARTITIONS, random_walk
from bench.stage import Stage, feed
from bench.timeline import Timeline
from ingest.bar import Bar
from ingest.publish import BarPublisher, ensure_topics
from jobs.machine.processes import Program
from stream.query import FETCH_WAIT_MS

CORES: Final = (0, 1)
NETWORK: Final = "lstm32"
HISTORY_MINUTES: Final = LOOKBACK + 5
WARM_UP_GROUPS: Final = 8
# By name, the fetch wait in ms: Kafka's default, and the job's.
PASSTHROUGHS: Final = {"passthrough": 500, "tuned_passthrough": FETCH_WAIT_MS}
CLOSE_S: Final = 3.0
# Spark ends Python workers that were idle for 60 s.
FAR_S: Final = 70.0
# After its outputs can be read, the job writes Parquet, and all of them commit.
FINISH_S: Final = 0.5
TIMEOUT_S: Final = 300.0

Latencies = dict[str, list[list[float]]]


@dataclass
class Side:
    """One of the three: what it reads, what it writes, and how many messages a bar makes there."""

    name: str
    bars_topic: str
    output_topic: str
    messages_a_bar: int
    program: Program
    publisher: BarPublisher
    timeline: Timeline
    expected: int = 0
    sent_at_s: float = 0.0

    def send(self, bars: list[Bar], gap_s: float) -> None:
        """Publish a group no sooner than `gap_s` after the last; return once it is answered."""
        time.sleep(max(0.0, self.sent_at_s + gap_s - time.monotonic()))
        self.sent_at_s = time.monotonic()
        self.publisher.publish(bars)
        self.await_answers(len(bars))
        time.sleep(FINISH_S)

    def await_answers(self, bars: int) -> None:
        """Return once the outputs of so many more bars can be read."""
        self.expected += bars * self.messages_a_bar
        self.timeline.wait_for(self.expected, TIMEOUT_S, self.program.check)


@dataclass
class Groups:
    """The minutes that were sent in each way, by round."""

    close: list[list[int]] = field(default_factory=list)
    far: list[list[int]] = field(default_factory=list)


def run_live(
    stage: Stage, n_symbols: int, rounds: int, close_groups: int, far_groups: int
) -> dict[str, Latencies]:
    """Milliseconds of every bar: by side, then `3s` and `70s`, then by round."""
    minutes = HISTORY_MINUTES + WARM_UP_GROUPS + rounds * (close_groups + far_groups)
    bars = enumerate(random_walk(n_symbols, minutes))
    groups = Groups()
    with ExitStack() as running:
        sides = start_sides(stage, running)
        for side in sides:
            feed(stage.broker, side.bars_topic, n_symbols, HISTORY_MINUTES)
        for _ in range(HISTORY_MINUTES):
            next(bars)
        for side in sides:
            unanswered = LOOKBACK if side.name == "job" else 0
            side.await_answers(n_symbols * (HISTORY_MINUTES - unanswered))
        send(sides, bars, WARM_UP_GROUPS, CLOSE_S)
        since = {
            topic: end_offsets(stage.broker, topic)
            for side in sides
            for topic in (side.bars_topic, side.output_topic)
        }
        for _ in range(rounds):
            groups.close.append(send(sides, bars, close_groups, CLOSE_S))
            groups.far.append(send(sides, bars, far_groups, FAR_S))
    return {side.name: latencies(stage.broker, side, since, groups) for side in sides}


def start_sides(stage: Stage, running: ExitStack) -> list[Side]:
    """Start the job and the passthroughs, each on a topic of its own."""
    sides = [passthrough(stage, running, name) for name in PASSTHROUGHS]
    topic = "live-job-bars"
    ensure_topics(stage.broker, {topic: PARTITIONS})
    job = Job(stage.broker, topic, stage.folder / "live-job", stage.registry(NETWORK))
    running.enter_context(job)
    topics = (topic, job.predictions_topic)
    return [side_of(stage, running, "job", topics, len(HORIZONS), job.program), *sides]


def passthrough(stage: Stage, running: ExitStack, name: str) -> Side:
    """Start one of `PASSTHROUGHS`."""
    folder = stage.folder / f"live-{name}"
    topics = (f"{folder.name}-bars", folder.name)
    ensure_topics(stage.broker, dict.fromkeys(topics, PARTITIONS))
    wait_ms = str(PASSTHROUGHS[name])
    arguments = (stage.broker, *topics, str(folder / "checkpoint"), wait_ms)
    script = "bench/contenders/passthrough.py"
    program = running.enter_context(spark_program(script, {}, folder, CORES, arguments=arguments))
    return side_of(stage, running, name, topics, 1, program)


def side_of(
    stage: Stage,
    running: ExitStack,
    name: str,
    topics: tuple[str, str],
    messages_a_bar: int,
    program: Program,
) -> Side:
    """A side whose program runs, with its publisher and with what watches its output."""
    publisher = running.enter_context(BarPublisher(stage.broker, topics[0]))
    timeline = running.enter_context(Timeline(stage.broker, topics[1], list))
    return Side(name, *topics, messages_a_bar, program, publisher, timeline)


def send(
    sides: list[Side], bars: Iterator[tuple[int, list[Bar]]], groups: int, gap_s: float
) -> list[int]:
    """Send the next groups to all sides in turn; return their minutes."""
    minutes = []
    for _ in range(groups):
        minute, group = next(bars)
        minutes.append(minute)
        first = minute % len(sides)
        for side in sides[first:] + sides[:first]:
            side.send(group, gap_s)
    return minutes


def latencies(
    broker: str, side: Side, since: dict[str, dict[object, int]], groups: Groups
) -> Latencies:
    """Milliseconds from each bar to its last output, by way of sending and round."""
    sent: dict[tuple[str, int], int] = {}
    for value, at_ms in read_records(broker, side.bars_topic, since[side.bars_topic]):
        sent[value["symbol"], minute_of(value)] = at_ms
    seen: dict[tuple[str, int], int] = {}
    for value, at_ms in read_records(broker, side.output_topic, since[side.output_topic]):
        bar = (value["symbol"], minute_of(value))
        seen[bar] = max(at_ms, seen.get(bar, 0))
    if sent.keys() != seen.keys():
        raise RuntimeError(f"{side.name}: {len(seen)} of {len(sent)} bars were answered")
    by_minute: dict[int, list[float]] = {}
    for bar, at_ms in sent.items():
        by_minute.setdefault(bar[1], []).append(float(seen[bar] - at_ms))
    return {
        way: [[ms for minute in minutes for ms in by_minute[minute]] for minutes in in_rounds]
        for way, in_rounds in (("3s", groups.close), ("70s", groups.far))
    }


def minute_of(message: dict[str, int]) -> int:
    """The minute that a bar opens at, or that a prediction's last bar opened at."""
    close_time = message.get("as_of")
    open_time = message["open_time"] if close_time is None else close_time - MINUTE_MS
    return (open_time - FIRST_OPEN_MS) // MINUTE_MS


def percentile(rounds: list[list[float]], q: float) -> float:
    """Percentile `q` over the bars of all rounds, in milliseconds."""
    return float(np.percentile(np.concatenate([np.array(one) for one in rounds]), q))
