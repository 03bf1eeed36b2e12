"""Turn the folders of many micro-batches into few, while stream and readers run.

```
 before   bars/batch=<query>-41/  batch=<query>-42/  batch=<query>-43/  batch=hour-2026-11-28T05-0/
 after    bars/batch=<query>-43/  batch=hour-2026-11-28T05-1/
```
Rows go into a folder an hour, those of closed days into a folder a day, and days of a closed month
into one where they are small together. The newest folder of each query stays: the stream may write
its last micro-batch again.

New folders appear, each in one rename, and are read back before the folders that they replace go:
no row is missing at any moment. In between a row stands twice on disk and once in the views, which
keep one row an identity. A run that dies is made good by the next.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Final

from store.merge import Merged, Plan, merge, rows_by_hour
from store.periods import Period
from store.table_folder import TableFolder

# Micro-batches that are worth a merge, and the most that one merge takes.
LEAST_FOLDERS: Final = 60
MOST_FOLDERS: Final = 2_000
# Days of a closed month become one folder where they take up no more: one late bar rewrites it all.
MONTH_BYTES: Final = 32 * 1024 * 1024


def compact_table(folder: TableFolder, closed_before: date, least: int = 1) -> list[Merged]:
    """Merge what there is to merge; fewer than `least` new folders wait until a day has closed.

    Days before `closed_before` (UTC) are closed. Raises CandlecastError where the merged folders do
    not hold every row; the sources then stay.
    """
    folder.sweep()
    done = []
    while (plan := _plan(folder, closed_before, least)) is not None:
        done.append(merge(folder, plan))
    return done


@dataclass(frozen=True)
class Layout:
    """What lies in a table: folders of periods by name, bytes by name and by new hour."""

    periods: Mapping[str, Period]
    sizes: Mapping[str, int]
    closed_before: date
    new_bytes: Mapping[Period, float]

    def target(self, period: Period) -> Period:
        """The period that the rows of this one belong to now: itself or a longer one."""
        month = period.within("month")
        if month in self._whole_months:
            return month
        if period.kind == "hour" and period.last_day < self.closed_before:
            return period.within("day")
        return period

    @cached_property
    def _whole_months(self) -> set[Period]:
        size: Counter[Period] = Counter()
        days: dict[Period, set[date]] = defaultdict(set)
        parts = [(period, self.sizes[name]) for name, period in self.periods.items()]
        for period, part in (*parts, *self.new_bytes.items()):
            size[period.within("month")] += int(part)
            days[period.within("month")].add(period.last_day)
        small = {m for m in size if size[m] <= MONTH_BYTES and len(days[m]) > 1}
        closed = {month for month in small if month.last_day < self.closed_before}
        return closed | {period for period in self.periods.values() if period.kind == "month"}


def _plan(folder: TableFolder, closed_before: date, least: int) -> Plan | None:
    sizes = {n: size for n, size in folder.sizes().items() if n not in folder.unreadable}
    periods = {name: found[0] for name in sizes if (found := Period.named(name))}
    new = _settled(sizes.keys() - periods.keys())
    if len(new) < least and not _any_closed(periods.values(), closed_before):
        new = []
    new = folder.readable(new[:MOST_FOLDERS])
    hours = rows_by_hour(folder, new)
    a_row = sum(sizes[name] for name in new) / max(1, sum(hours.values()))
    new_bytes = {Period.hour(hour): rows * a_row for hour, rows in hours.items()}
    layout = Layout(periods, sizes, closed_before, new_bytes)
    touched = {layout.target(period) for period in new_bytes} | _out_of_place(folder, layout)
    old = [name for name, period in periods.items() if layout.target(period) in touched]
    sources = [*new, *folder.readable(old)]
    if not sources:
        return None
    hours = rows_by_hour(folder, sources)
    return Plan(sources, {hour: layout.target(Period.hour(hour)) for hour in hours})


def _out_of_place(folder: TableFolder, layout: Layout) -> set[Period]:
    """Periods that take up shorter ones, or that have two folders, since a run died between
    publishing and removing."""
    count = Counter(layout.periods.values())
    doubtful = {n: p for n, p in layout.periods.items() if count[p] > 1 or layout.target(p) != p}
    found = [doubtful[name] for name in folder.readable(doubtful)]
    twice = {period for period, folders in Counter(found).items() if folders > 1}
    return {layout.target(p) for p in found if p in twice or layout.target(p) != p}


def _settled(names: Iterable[str]) -> list[str]:
    """Micro-batches that the stream does not write again, in their order: of each query all but the
    newest.

    >>> _settled(["a-09", "a-10", "b-1", "c"])
    ['a-09']
    """
    parts = ((name, *name.rpartition("-")) for name in names)
    numbered = sorted((q, int(number), name) for name, q, _, number in parts if number.isdecimal())
    newest = {query: number for query, number, _ in numbered}
    return [name for query, number, name in numbered if number < newest[query]]


def _any_closed(periods: Iterable[Period], closed_before: date) -> bool:
    """Whether a day has closed whose hours are folders of their own."""
    return any(one.kind == "hour" and one.last_day < closed_before for one in periods)
