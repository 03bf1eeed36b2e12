"""Series out of recorded files."""

from pathlib import Path

import numpy as np

from conf.errors import ConfigurationError
from ingest.recorded.bars import read_recorded
from ingest.recorded.content import FILE_ENDINGS, name_of
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


def series_name(file: Path) -> str:
    """What a recorded file is called without its endings.

    >>> series_name(Path("data/btc.usd_1m.csv.gz"))
    'btc.usd_1m'
    """
    while file.suffix.lower() in FILE_ENDINGS:
        file = file.with_suffix("")
    return name_of(file)


def series_files(folder: Path) -> list[Path]:
    """Every recorded file of a folder; raises ConfigurationError where there is none."""
    found = sorted(file for file in folder.glob("*.*") if file.suffix.lower() in FILE_ENDINGS)
    if not found:
        raise ConfigurationError(f"no recorded files ({', '.join(FILE_ENDINGS)}) in {folder}")
    return found
