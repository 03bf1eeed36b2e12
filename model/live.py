"""How the champion does live: its predictions in the warehouse against the closes that came.

A prediction is revealed by the bar that closes at its target time, and counts only if it was made
before that: a backfilled one proves nothing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import numpy as np

from model.evaluate import skill

_REVEALED: Final = """
    WITH bars AS (
        SELECT symbol, epoch_ms(open_time::TIMESTAMP) + ? AS close_time, close
        FROM read_parquet(?, union_by_name = true, hive_partitioning = true)
        WHERE interval = ?
        QUALIFY row_number() OVER (PARTITION BY symbol, open_time ORDER BY fetched_at DESC) = 1
    )
    SELECT p.horizon, p.last_close, p.predicted_close, b.close,
           b.close BETWEEN p.lower AND p.upper AS covered, epoch_ms(p.as_of::TIMESTAMP) AS as_of
    FROM read_parquet(?, union_by_name = true, hive_partitioning = true) AS p
    JOIN bars AS b
      ON b.symbol = p.symbol AND b.close_time = epoch_ms(p.target_time::TIMESTAMP)
    WHERE p.interval = ? AND p.model_version = ? AND p.predicted_at <= p.target_time
    ORDER BY p.as_of DESC, p.symbol
"""


@dataclass(frozen=True)
class LiveFigures:
    """Of the newest revealed predictions at one horizon; NaN skill where no price moved.

    `covered` (n_windows,) is in order of time.
    """

    horizon: int
    n_windows: int
    skill: float
    coverage: float
    covered: np.ndarray


def live_figures(
    warehouse_dir: Path, interval: str, interval_ms: int, version: str, newest: int
) -> dict[int, LiveFigures]:
    """Figures of `version` over its `newest` revealed predictions at each horizon.

    A horizon without any is left out; so is everything where there is no table yet.
    """
    bars, predictions = (_files(warehouse_dir / name) for name in ("bars", "predictions"))
    if not bars or not predictions:
        return {}
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute(
            _REVEALED, [interval_ms, bars, interval, predictions, interval, version]
        ).fetchnumpy()
    figures = {}
    for horizon in np.unique(np.asarray(found["horizon"])).tolist():
        chosen = np.flatnonzero(np.asarray(found["horizon"]) == horizon)[:newest][::-1]
        last, predicted, came = (
            np.asarray(found[name], float)[chosen]
            for name in ("last_close", "predicted_close", "close")
        )
        covered = np.asarray(found["covered"], bool)[chosen]
        figures[int(horizon)] = LiveFigures(
            int(horizon),
            len(chosen),
            skill(np.log(came / last), np.log(predicted / last)),
            float(covered.mean()),
            covered,
        )
    return figures


def _files(folder: Path) -> list[str]:
    return [
        str(file)
        for file in sorted(folder.rglob("*.parquet"))
        if not any(part.startswith(("_", ".")) for part in file.relative_to(folder).parts)
    ]
