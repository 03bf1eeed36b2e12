"""Live: from a bar's publication to its prediction, compared with Spark passing the bars through.

The job and two passthroughs, one as people write it and one with the job's own fetch wait, run at
the same time and are never busy at the same time: a minute's bars go to the one as one group, as
`ingest` sends them, and once all outputs can be read and it had time to finish, to the next. The
time of a bar is the broker's for its message (LogAppendTime); that of an output is the
same broker's for the last message that belongs to the bar, when any consumer may read it.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

import numpy as np

from bench.job import SparkJob
from bench.outputs import read_outputs
from bench.series import FIRST_OPEN_MS, LOOKBACK, MINUTE_MS, random_walk
from bench.stage import Stage
from ingest.bar import Bar
from stream.query import FETCH_WAIT_MS

HISTORY_MINUTES: Final = LOOKBACK + 5
WARM_UP_GROUPS: Final = 8
# By name, the fetch wait in ms: Kafka's default, and the job's.
PASSTHROUGHS: Final = {"passthrough": 500, "tuned_passthrough": FETCH_WAIT_MS}
# Seconds between two groups of one side; Spark ends Python workers that were idle for 60 s.
GAPS_S: Final = {"3s": 3.0, "70s": 70.0}
# After its outputs can be read, the job writes Parquet, and all of them commit.
FINISH_S: Final = 0.5
TIMEOUT_S: Final = 300.0

Minutes = Iterator[tuple[int, list[Bar]]]
# Milliseconds of every bar: by the gap before it, then by round.
Latencies = dict[str, list[list[float]]]


def run_live(
    stage: Stage, n_symbols: int, rounds: int, groups: dict[str, int]
) -> dict[str, Latencies]:
    """The latencies by side; each round sends so many groups (minutes) with each gap."""
    minutes = HISTORY_MINUTES + WARM_UP_GROUPS + rounds * sum(groups.values())
    walk = enumerate(random_walk(n_symbols, minutes))
    sent: dict[str, list[list[int]]] = {gap: [] for gap in groups}
    with ExitStack() as running:
        sides = {name: stage.passthrough(f"live-{name}", ms) for name, ms in PASSTHROUGHS.items()}
        sides = {"job": stage.job("live-job", "live-job-bars"), **sides}
        for side in sides.values():
            running.enter_context(side)
            stage.feed(side.bars_topic, n_symbols, HISTORY_MINUTES)
        for _ in range(HISTORY_MINUTES):
            next(walk)
        for name, side in sides.items():
            unanswered = LOOKBACK if name == "job" else 0
            side.await_answers(n_symbols * (HISTORY_MINUTES - unanswered), TIMEOUT_S)
        senders = Senders(list(sides.values()))
        senders.send(walk, WARM_UP_GROUPS, GAPS_S["3s"])
        since_ms = int(time.time() * 1000)
        for _ in range(rounds):
            for gap, count in groups.items():
                sent[gap].append(senders.send(walk, count, GAPS_S[gap]))
    return {name: latencies(stage.broker, side, since_ms, sent) for name, side in sides.items()}


class Senders:
    """Sends each group of bars to all sides, one after the other."""

    def __init__(self, sides: list[SparkJob]) -> None:
        self._sides = sides
        self._sent_at_s = [0.0] * len(sides)

    def send(self, walk: Minutes, groups: int, gap_s: float) -> list[int]:
        """Send the next groups, `gap_s` apart or more on each side; return their minutes."""
        minutes = []
        for _ in range(groups):
            minute, group = next(walk)
            minutes.append(minute)
            for turn in range(len(self._sides)):
                number = (minute + turn) % len(self._sides)
                time.sleep(max(0.0, self._sent_at_s[number] + gap_s - time.monotonic()))
                self._sent_at_s[number] = time.monotonic()
                self._sides[number].answer(group, TIMEOUT_S)
                time.sleep(FINISH_S)
        return minutes


def latencies(
    broker: str, side: SparkJob, since_ms: int, sent: dict[str, list[list[int]]]
) -> Latencies:
    """Milliseconds from each bar to its last output; `sent` has the minutes by gap and round."""
    published = last_by_bar(broker, side.bars_topic, since_ms)
    answered = last_by_bar(broker, side.output_topic, since_ms)
    if published.keys() != answered.keys():
        raise RuntimeError(f"{side.folder.name}: {len(answered)} of {len(published)} were answered")
    by_minute: dict[int, list[float]] = {}
    for (symbol, minute), at_ms in published.items():
        by_minute.setdefault(minute, []).append(float(answered[symbol, minute] - at_ms))
    return {
        gap: [[ms for minute in minutes for ms in by_minute[minute]] for minutes in rounds]
        for gap, rounds in sent.items()
    }


def last_by_bar(broker: str, topic: str, since_ms: int) -> dict[tuple[str, int], int]:
    """By symbol and minute, the broker's time of the last message that belongs to the bar."""
    found: dict[tuple[str, int], int] = {}
    for value, at_ms in read_outputs(broker, topic, since_ms):
        # A prediction is as of the close of its last bar.
        open_ms = value["as_of"] - MINUTE_MS if "as_of" in value else value["open_time"]
        bar = (value["symbol"], (open_ms - FIRST_OPEN_MS) // MINUTE_MS)
        found[bar] = max(at_ms, found.get(bar, 0))
    return found


def percentile(rounds: list[list[float]], q: float) -> float:
    """Percentile `q` over the bars of all rounds, in milliseconds."""
    return float(np.percentile(np.concatenate([np.array(one) for one in rounds]), q))
