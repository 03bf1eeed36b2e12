"""The bars of a recorded file: judged as live bars are, each once, in the order of time."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from conf.errors import ConfigurationError
from conf.events import event
from conf.timeframes import TIMEFRAME_MS
from ingest.bar import OPTIONAL_RULES, RULES
from ingest.recorded.content import name_of
from ingest.recorded.rows import Rows, read_rows
from ingest.recorded.times import NO_TIME, Times

log = logging.getLogger(__name__)

# Why a row is none: faults of its form first, then the rules of bars. By these positions rows are
# marked, -1 stands for a good one.
REASONS: Final = (
    "a row must have as many cells as the others",
    "time must be unix time or a date",
    *(reason for reason, _ in RULES),
    *(reason for reason, _ in OPTIONAL_RULES.values()),
)
GOOD: Final = -1


@dataclass(frozen=True)
class RecordedBars:
    """A file's rows in the order of time; `broken` (n_rows,) is -1 where a row is a good bar, or
    else which of `REASONS` speaks against it."""

    interval: str
    rows: Rows
    broken: NDArray[np.int8]

    @property
    def good(self) -> Rows:
        """The rows that are bars, each time once."""
        return self.rows.at(self.broken == GOOD)


def read_recorded(
    file: Path,
    symbol: str,
    timeframe: str | None = None,
    now_ms: int | None = None,
    earliest_ms: int = 0,
) -> RecordedBars:
    """Read and judge a file; of several good rows of one time the last counts.

    Without `timeframe` it is the most frequent step between two bars. A bar that ends after
    `now_ms` (epoch ms, the clock's if not given) lies in the future, and none may open before
    `earliest_ms`. Raises ConfigurationError
    where the file can't be read, holds bars of another timeframe, or is worse than its good rows.
    """
    if timeframe is not None and timeframe not in TIMEFRAME_MS:
        raise ConfigurationError(f"interval {timeframe!r} is none of {', '.join(TIMEFRAME_MS)}")
    rows = read_rows(file, symbol, timeframe)
    timeframe = timeframe_of(rows.open_time, timeframe, file)
    times = {"now_ms": now_ms or int(time.time() * 1000), "earliest_ms": earliest_ms}
    broken = _broken(rows, bar_ms=TIMEFRAME_MS[timeframe], **times)
    if (np.diff(rows.open_time) < 0).any():
        order = np.argsort(rows.open_time, kind="stable")
        rows, broken = rows.at(order), broken[order]
    doubles = _doubles(rows.open_time, broken)
    _say(file, rows, broken, int(doubles.sum()))
    if doubles.any():
        rows, broken = rows.at(~doubles), broken[~doubles]
    return RecordedBars(timeframe, rows, broken)


def timeframe_of(open_time: Times, asked: str | None, file: Path) -> str:
    """The timeframe of bars by the steps between them; raises ConfigurationError if not `asked`."""
    steps, counts = np.unique(np.diff(np.unique(open_time[open_time >= 0])), return_counts=True)
    names = {length: name for name, length in TIMEFRAME_MS.items()}
    known = ", ".join(TIMEFRAME_MS)
    if asked is None:
        if not len(steps):
            raise ConfigurationError(
                f"recorded file {file}: expected two bars or more, with times such as 1614556740 "
                f"or 2021-02-28 23:59; found {len(np.unique(open_time[open_time >= 0]))}"
            )
        step = int(steps[np.argmax(counts)])
        if step not in names:
            raise ConfigurationError(
                f"recorded file {file}: bars are mostly {step} ms apart, which is none of {known}"
            )
        return names[step]
    # No two bars of a longer timeframe are closer: each lies on the grid of a shorter one, too.
    shortest = int(steps[0]) if counts.sum() > 1 else 0
    if shortest > TIMEFRAME_MS[asked] and shortest in names:
        raise ConfigurationError(
            f"recorded file {file}: expected bars of {asked}, found bars of {names[shortest]}"
        )
    return asked


def _broken(rows: Rows, bar_ms: int, now_ms: int, earliest_ms: int) -> NDArray[np.int8]:
    """For each row the first of `REASONS` that speaks against it, or -1."""
    bars = SimpleNamespace(
        **rows.values,
        open_time=rows.open_time,
        fetched_at=rows.open_time + bar_ms,
        bar_ms=bar_ms,
        now_ms=now_ms,
        earliest_ms=earliest_ms,
    )
    kept = [~rows.ragged, rows.open_time != NO_TIME, *(holds(bars) for _, holds in RULES)]
    for name, (_, holds) in OPTIONAL_RULES.items():
        kept.append(np.isnan(rows.values[name]) | holds(bars))
    broken = np.full(len(rows), GOOD, np.int8)
    for number, holds in reversed(list(enumerate(kept))):
        broken[~np.asarray(holds)] = number
    return broken


def _doubles(open_time: Times, broken: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Good rows, in the order of time, that another good row of the same time follows."""
    good = np.flatnonzero(broken == GOOD)
    doubles = np.zeros(len(broken), bool)
    doubles[good[:-1][open_time[good[:-1]] == open_time[good[1:]]]] = True
    return doubles


def _say(file: Path, rows: Rows, broken: NDArray[np.int8], doubles: int) -> None:
    """Log what the file held; raises ConfigurationError where that is more bad than good."""
    rejected = int(np.count_nonzero(broken != GOOD))
    bars = len(rows) - rejected - doubles
    first = ""
    if rejected:
        row = int(np.argmin(np.where(broken != GOOD, rows.line, np.iinfo(np.int32).max)))
        first = f"line {rows.line[row]}: {REASONS[broken[row]]}"
    if bars < max(1, rejected + doubles):
        raise ConfigurationError(
            f"recorded file {file}: expected bars, found {bars}, beside {rejected} rows that are "
            f"none and {doubles} that repeat a time{'; ' * bool(first)}{first}"
        )
    found = {"file": name_of(file), "bars": bars, "rejected": rejected, "doubles": doubles}
    level = logging.WARNING if rejected or doubles else logging.INFO
    event(log, "recorded_file", level=level, **found, **({"first": first} if first else {}))
