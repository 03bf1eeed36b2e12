"""The lengths of bar that Candlecast knows."""

from typing import Final, Literal

Interval = Literal["1m", "5m", "15m", "1h", "1d"]

INTERVAL_MS: Final[dict[str, int]] = {
    "1m": 60_000,
    "5m": 300_000,
    "15m": 900_000,
    "1h": 3_600_000,
    "1d": 86_400_000,
}
