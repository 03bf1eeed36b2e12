"""The outcomes that are kept as sums: of each block, and of all blocks that are closed."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

import duckdb
import numpy as np
import pandas as pd

from conf.timeframes import TIMEFRAME_MS
from jobs.scoring.kept import BAR_MS, BLOCK, BLOCK_BARS, CLOSES_BARS, KEY, OPEN_MS
from jobs.scoring.sums import ALWAYS_POSSIBLE, MOST_MEDIANS, Sums
from jobs.scoring.trailing import reach, trailing_spread
from store.schema import COVERED, DISTRIBUTION

# A series of which nothing came for so many looks, and a week, closes to its end.
SILENT_LOOKS: Final = 200
KEYS: Final = ", ".join(KEY)
_SERIES: Final = "symbol, interval, horizon, model_version"
# The series of an interval at a horizon, numbered.
_NUMBERED: Final = f"""
CREATE OR REPLACE TEMP TABLE keys AS
SELECT {KEYS}, row_number() OVER (PARTITION BY interval, horizon ORDER BY {KEYS}) - 1 AS run
FROM (SELECT DISTINCT {KEYS} FROM kept.predictions UNION SELECT {KEYS} FROM kept.totals)
"""
_GROUPS: Final = """
SELECT DISTINCT interval, horizon, until FROM keys INNER JOIN kept.newest USING (interval)
ORDER BY ALL
"""
_BLOCKS: Final = f"""
SELECT DISTINCT {BLOCK} AS block FROM kept.predictions
WHERE interval = ? AND horizon = ? AND target > ? ORDER BY block
"""
_ROWS: Final = f"""
SELECT p.run, p.block, p.as_of, p.target, p.last_close, p.predicted_close, p.lower, p.upper,
       p.coverage,
       {", ".join(f"p.{name}" for name in DISTRIBUTION)},
       b.close AS actual, a.arima_close, {COVERED} AS covered, e.held_move
FROM (SELECT *, {BLOCK} AS block FROM kept.predictions INNER JOIN keys USING ({KEYS})
      WHERE interval = $interval AND horizon = $horizon AND target BETWEEN $since AND $until) p
INNER JOIN kept.closes b ON b.symbol = p.symbol AND b.interval = p.interval AND b.time = p.target
LEFT JOIN kept.arima a ON a.symbol = p.symbol AND a.interval = p.interval AND a.as_of = p.as_of
  AND a.horizon = p.horizon
LEFT JOIN (SELECT run, target + $ahead AS target, ln(predicted_close / last_close) AS held_move
           FROM kept.predictions INNER JOIN keys USING ({KEYS})
           WHERE interval = $interval AND horizon = $horizon
             AND target BETWEEN $since - $ahead AND $until - $ahead) e
  ON e.run = p.run AND e.target = p.target
WHERE b.time BETWEEN $since AND $until
ORDER BY p.run, p.target
"""
_CLOSES: Final = """
SELECT run, time, close FROM kept.closes INNER JOIN keys USING (symbol, interval)
WHERE interval = $interval AND horizon = $horizon AND time BETWEEN $since AND $until
ORDER BY run, time
"""
_STORED: Final = f"""
SELECT run, block, numbers FROM kept.sums INNER JOIN keys USING ({KEYS})
WHERE interval = ? AND horizon = ? ORDER BY block, run
"""
_TOTALS: Final = f"""
SELECT run, numbers FROM kept.totals INNER JOIN keys USING ({KEYS})
WHERE interval = ? AND horizon = ? ORDER BY run
"""
_CLOSABLE: Final = f"""
SELECT run, {KEYS}, until FROM keys INNER JOIN (
    SELECT {_SERIES}, min(target) AS oldest,
           CASE WHEN max(target) <= $week_ago
                     AND max(look) <= (SELECT look FROM kept.state) - $silent
                THEN ((max(target) - 1) // $block + 1) * $block
                ELSE least($week_ago, max(target) - $block) // $block * $block END AS until
    FROM kept.predictions WHERE interval = $interval AND horizon = $horizon GROUP BY ALL
) c USING ({_SERIES}) WHERE oldest <= until ORDER BY run
"""
_OF_CLOSED: Final = " AND ".join(f"x.{name} = c.{name}" for name in _SERIES.split(", "))
_FORGET: Final = (
    f"DELETE FROM kept.predictions x USING closed_ c WHERE {_OF_CLOSED} AND x.target <= c.until",
    f"""DELETE FROM kept.sums x USING closed_ c
        WHERE {_OF_CLOSED} AND (x.block + 1) * $block <= c.until""",
    f"DELETE FROM kept.closed x USING closed_ c WHERE {_OF_CLOSED}",
    f"INSERT INTO kept.closed SELECT DISTINCT {_SERIES}, until FROM closed_",
)
# A close is needed by predictions that are not closed, with trailing volatility in the blocks
# before, and by ARIMA's next forecast.
_FORGET_CLOSES: Final = f"""
DELETE FROM kept.closes x USING (
    SELECT symbol, interval, least(oldest, max(time) - {CLOSES_BARS} * {BAR_MS}) AS since
    FROM kept.closes LEFT JOIN (
        SELECT symbol, interval, min(as_of) - {4 * BLOCK_BARS} * {BAR_MS} AS oldest
        FROM kept.predictions GROUP BY symbol, interval
    ) USING (symbol, interval) GROUP BY symbol, interval, oldest
) k WHERE x.symbol = k.symbol AND x.interval = k.interval AND x.time < k.since
"""
_FORGET_ARIMA: Final = """
DELETE FROM kept.arima x USING (
    SELECT symbol, interval, horizon, min(as_of) AS since FROM kept.predictions GROUP BY ALL
) k WHERE x.symbol = k.symbol AND x.interval = k.interval AND x.horizon = k.horizon
  AND x.as_of < k.since
"""


class Blocks:
    """The outcomes of one interval at one horizon, in a connection to what is kept."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, interval: str, horizon: int, until_ms: int
    ) -> None:
        self.interval, self.horizon, self.until_ms = interval, horizon, until_ms
        self.length_ms = BLOCK_BARS * TIMEFRAME_MS[interval]
        self._connection = connection
        self._of = [interval, horizon]
        query = f"SELECT {KEYS} FROM keys WHERE interval = ? AND horizon = ? ORDER BY run"
        self.keys: pd.DataFrame = connection.execute(query, self._of).df()

    def block(self, target_ms: int) -> int:
        """The number of the block that holds a target time; a block ends with its last."""
        return (target_ms - 1) // self.length_ms

    @cached_property
    def none(self) -> Sums:
        """A run for each series, without an outcome."""
        return Sums.none(len(self.keys), self.horizon)

    def totals(self) -> Sums:
        """The sums of all closed blocks."""
        rows = self._connection.execute(_TOTALS, self._of).fetchnumpy()
        return self._placed(rows["run"], rows["numbers"])

    def whole(self, without: set[int]) -> dict[int, Sums]:
        """The sums of each block but those, in order; what was not kept before is kept now."""
        blocks = self._connection.execute(_BLOCKS, [*self._of, 0]).fetchall()
        stored = self._connection.execute(_STORED, self._of).fetchnumpy()
        found: dict[int, Sums] = {}
        for (block,) in blocks:
            chosen = stored["block"] == block
            if block not in without and chosen.any():
                found[block] = self._placed(stored["run"][chosen], stored["numbers"][chosen])
            elif block not in without:
                rows = self.rows([block])
                found[block] = Sums.of(rows, rows["run"], len(self.keys), self.horizon)
                self._keep("sums", f"{KEYS}, {block}, numbers", found[block])
        return found

    def rows(self, blocks: list[int]) -> dict[str, Any]:
        """The outcomes in some blocks, with the largest move that is counted as it is."""
        found = [self._rows(block) for block in blocks]
        return _with_bounds({name: np.concatenate([r[name] for r in found]) for name in found[0]})

    def close(self) -> None:
        """Add blocks that no span cuts and no late bar reaches to the totals; drop their rows."""
        values = {"interval": self.interval, "horizon": self.horizon, "block": self.length_ms}
        values |= {"week_ago": self.until_ms - OPEN_MS, "silent": SILENT_LOOKS}
        closed = self._connection.execute(_CLOSABLE, values).df()
        if closed.empty:
            return
        until = np.zeros(len(self.keys))
        until[closed["run"]] = closed["until"]
        # The sums of the next block are kept now: its first positions are held on from what goes.
        next_ends = int(until.max()) + self.length_ms
        later = self._connection.execute(_BLOCKS, [*self._of, next_ends]).fetchall()
        totals = self.totals()
        for block, sums in self.whole({block for (block,) in later}).items():
            done = (block + 1) * self.length_ms <= until
            totals = totals.then(Sums.from_numbers(_only(sums, done, self.none)))
        self._connection.execute(
            "DELETE FROM kept.totals WHERE interval = ? AND horizon = ?", self._of
        )
        self._keep("totals", f"{KEYS}, numbers", totals)
        self._connection.register("closed_", closed)
        for statement in _FORGET:
            self._connection.execute(statement.replace("$block", str(self.length_ms)))
        self._connection.unregister("closed_")

    def _rows(self, block: int) -> dict[str, Any]:
        bar_ms, since_ms = TIMEFRAME_MS[self.interval], block * self.length_ms + 1
        values = {
            "interval": self.interval,
            "horizon": self.horizon,
            "since": since_ms,
            "until": since_ms - 1 + self.length_ms,
        }
        ahead = {"ahead": self.horizon * bar_ms}
        found = self._connection.execute(_ROWS, values | ahead).fetchnumpy()
        rows = {name: np.ma.filled(values, np.nan) for name, values in found.items()}
        values["since"] = since_ms - reach(self.horizon, BLOCK_BARS) * bar_ms
        closes = self._connection.execute(_CLOSES, values).fetchnumpy()
        n_runs, horizon = len(self.keys), self.horizon
        return rows | trailing_spread(rows, closes, n_runs, horizon, bar_ms, BLOCK_BARS)

    def _placed(self, run: Any, numbers: Any) -> Sums:
        placed = self.none.numbers()
        if len(run):
            placed[run] = np.stack([np.asarray(one) for one in numbers])
        return Sums.from_numbers(placed)

    def _keep(self, table: str, columns: str, sums: Sums) -> None:
        there = np.flatnonzero(sums.plain["count"] > 0)
        numbers = pd.DataFrame({"run": there, "numbers": list(sums.numbers()[there])})
        self._connection.register("numbers_", numbers)
        query = f"SELECT {columns} FROM numbers_ INNER JOIN keys USING (run)"
        query += " WHERE interval = ? AND horizon = ?"
        self._connection.execute(f"INSERT INTO kept.{table} {query}", self._of)
        self._connection.unregister("numbers_")


def all_blocks(connection: duckdb.DuckDBPyConnection) -> list[Blocks]:
    """Those of each interval and horizon that has an outcome."""
    connection.execute(_NUMBERED)
    groups = connection.execute(_GROUPS).fetchall()
    return [Blocks(connection, *group) for group in groups]


def close_blocks(connection: duckdb.DuckDBPyConnection) -> None:
    """Close what is a week old everywhere, and forget what nothing needs any more."""
    for blocks in all_blocks(connection):
        blocks.close()
    connection.execute(_FORGET_CLOSES)
    connection.execute(_FORGET_ARIMA)


def _only(sums: Sums, chosen: Any, none: Sums) -> Any:
    return np.where(np.asarray(chosen)[:, None], sums.numbers(), none.numbers())


def _with_bounds(rows: Mapping[str, Any]) -> dict[str, Any]:
    moves = np.abs(np.log(rows["actual"] / rows["last_close"]))
    median = pd.Series(moves).groupby(rows["run"]).transform("median").to_numpy()
    return {**rows, "bound": np.maximum(ALWAYS_POSSIBLE, MOST_MEDIANS * median)}
