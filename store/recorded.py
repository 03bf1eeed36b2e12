"""Series out of recorded files."""

from pathlib import Path

import numpy as np

from ingest.recorded.bars import read_recorded
from model.series import VALUES, Series, on_grid


def read_file(
    file: Path, symbol: str, timeframe: str | None = None, earliest_ms: int = 0
) -> Series:
    """The good bars of a recorded file, as `ingest --source recorded` publishes them.

    Without `timeframe` it is the most frequent step between two bars; none may open before
    `earliest_ms` (epoch ms). Raises ConfigurationError where the file is missing or of no form
    that `ingest.recorded` reads.
    """
    recorded = read_recorded(file, symbol, timeframe, earliest_ms=earliest_ms)
    good = recorded.good
    bars = np.column_stack([good.values[name] for name in VALUES])
    return on_grid(symbol, recorded.interval, good.open_time, bars)
