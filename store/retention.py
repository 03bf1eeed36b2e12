"""What is too old to keep leaves the warehouse, a folder at a time."""

import math
from datetime import UTC, datetime, timedelta

from store.periods import Period
from store.table_folder import TableFolder


def drop_old(folder: TableFolder, keep_days: int, now: datetime) -> int:
    """Remove the folders of a table whose every row is of days before the last `keep_days`; returns
    how many they were.

    Counted back from `now`, or from the newest row where that is older: a clock that is years ahead
    empties no table. A folder that can't be read, or does not say how new it is, stays.
    """
    spans = {name: _span_ms(folder, name) for name in folder.sizes()}
    newest_ms = max((first for first, last in spans.values() if math.isfinite(last)), default=0.0)
    until = min(now, datetime.fromtimestamp(newest_ms / 1000, UTC))
    keep_from = (until - timedelta(days=keep_days)).replace(hour=0, minute=0, second=0)
    old = [name for name, (_, last) in spans.items() if last < keep_from.timestamp() * 1000]
    folder.remove(old)
    return len(old)


def _span_ms(folder: TableFolder, name: str) -> tuple[float, float]:
    """The newest row of a folder lies between these, epoch ms."""
    found = Period.named(name)
    if found is None:
        newest = folder.newest_ms(name)
        return newest, newest
    period, _ = found
    last = datetime.combine(period.last_day, datetime.min.time(), UTC) + timedelta(days=1)
    return period.start.timestamp() * 1000, last.timestamp() * 1000 - 1
