"""The timeframes that Candlecast knows: how long a bar is. Everything else about them follows."""

from typing import TYPE_CHECKING, Final, Literal

TIMEFRAME_MS: Final[dict[str, int]] = {
    "1m": 60_000,
    "5m": 300_000,
    "15m": 900_000,
    "1h": 3_600_000,
    "1d": 86_400_000,
}

WEEK_MS: Final = 7 * TIMEFRAME_MS["1d"]

if TYPE_CHECKING:
    Timeframe = str
else:  # what pydantic checks, and a description of the API lists
    Timeframe = Literal[tuple(TIMEFRAME_MS)]
