"""Alerts on the market itself: a price that left its interval, a move ahead that is not usual."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pandas as pd

from conf.sections import Alerts
from conf.shown import shown_length, shown_price
from conf.timeframes import TIMEFRAME_MS
from jobs.scoring.kept import OPEN_MS, new_files, opened
from store.schema import LIVELIER

# Each series at the farthest horizon of its newest prediction: the newest close, the live
# prediction that was of it, and the share of the week's expected sizes that were smaller than the
# newest, null where too few are known.
_MARKET: Final = f"""
WITH made AS (
    SELECT symbol, interval, horizon, as_of, target, lower, upper, coverage, scale
    FROM kept.predictions WHERE NOT backfilled
    UNION SELECT symbol, interval, horizon, epoch_ms(as_of), epoch_ms(target_time), lower, upper,
                 coverage, scale
    FROM predictions_raw WHERE predicted_at <= target_time),
far AS (
    SELECT * FROM made QUALIFY horizon = arg_max(horizon, (as_of, horizon))
        OVER (PARTITION BY symbol, interval)),
closes AS (
    SELECT symbol, interval, time, close FROM kept.closes
    UNION SELECT symbol, interval, epoch_ms(close_time), close FROM bars),
last AS (
    SELECT symbol, interval, max(time) AS time, arg_max(close, time) AS close
    FROM closes GROUP BY ALL),
now AS (
    SELECT symbol, interval, max(as_of) AS as_of, arg_max(scale, as_of) AS scale
    FROM far WHERE scale IS NOT NULL GROUP BY ALL),
week AS (
    SELECT symbol, interval, {LIVELIER} AS livelier
    FROM far p INNER JOIN now n USING (symbol, interval)
    WHERE p.as_of >= n.as_of - {OPEN_MS} AND p.as_of < n.as_of GROUP BY ALL)
SELECT last.symbol, last.interval, last.time, last.close, far.horizon, far.lower, far.upper,
       far.coverage, week.livelier
FROM last
LEFT JOIN far ON far.symbol = last.symbol AND far.interval = last.interval
  AND far.target = last.time
LEFT JOIN week ON week.symbol = last.symbol AND week.interval = last.interval
WHERE last.time >= $since ORDER BY ALL
"""


def market(warehouse_dir: Path, since_ms: int) -> pd.DataFrame:
    """The series of which a bar closed at `since_ms` or later, a row each, as `_MARKET` says."""
    files = [file for group in new_files(warehouse_dir) for file in group]
    with opened(warehouse_dir, files) as connection:
        found: pd.DataFrame = connection.execute(_MARKET, {"since": since_ms}).df()
    return found


def market_events(rows: pd.DataFrame, bounds: Alerts) -> Iterator[tuple[str, str]]:
    """Names and texts of what goes on: `alerts.outside_interval` and `alerts.livelier_than`."""
    row: Any
    for row in rows.itertuples():
        series = f"{row.symbol} {row.interval}"
        if bounds.outside_interval and (row.close < row.lower or row.close > row.upper):
            ahead = shown_length(row.horizon * TIMEFRAME_MS[row.interval] / 1000)
            yield (
                f"outside {series}",
                f"{series} closed at {shown_price(row.close)}, outside the {row.coverage:.0%} "
                f"interval of {ahead} before, {shown_price(row.lower)} to {shown_price(row.upper)}",
            )
        if bounds.livelier_than and row.livelier > bounds.livelier_than:
            text = f"{series} is expected to move more than in {row.livelier:.0%} of the last week"
            yield f"lively {series}", text
