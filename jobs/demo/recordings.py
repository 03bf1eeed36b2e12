"""The recorded bars that the demo replays."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ingest.bar import Bar
from ingest.replay import in_close_order
from ingest.sources.recorded import Recording, read_bars

SERIES: Final = {
    "cccagg": (
        Recording(Path("data/btcusd_cryptocompare_cccagg_1m_2017-12.csv.gz"), "BTC-USD", "1m"),
        Recording(Path("data/ethusd_cryptocompare_cccagg_1m_2017-12.csv.gz"), "ETH-USD", "1m"),
    ),
    "binance": (
        Recording(Path("data/btcusdt_binance_1m_10086rows_2024-12.csv.gz"), "BTC-USDT", "1m"),
    ),
}
# Who moves first among them: ETH is forecast from the minutes of BTC, too.
LEADERS: Final = {"cccagg": ("BTC-USD",), "binance": ()}
# The share of a series that a model may have seen: the shipped one has, of `cccagg`.
BACKFILL: Final = 0.7


@dataclass(frozen=True, slots=True)
class Parts:
    """The bars in two parts, split at a time: the second is later than everything trained on."""

    backfill: list[Bar]
    replay: list[Bar]

    @classmethod
    def split(cls, bars: list[Bar], share: float) -> "Parts":
        """Cut `bars`, ascending by close time, after `share` of the time that they span."""
        first, last = bars[0].close_time, bars[-1].close_time
        border = first + (last - first) * share
        return cls(
            [bar for bar in bars if bar.close_time <= border],
            [bar for bar in bars if bar.close_time > border],
        )

    @property
    def replayed_from(self) -> int:
        """When the last backfilled bar closed, epoch ms."""
        return self.backfill[-1].close_time

    def shortened(self, lookback: int) -> "Parts":
        """With only as much of the first part as the first window of the second looks at."""
        bar_ms = self.backfill[-1].close_time - self.backfill[-1].open_time
        since = self.replayed_from - (lookback - 1) * bar_ms
        return Parts([bar for bar in self.backfill if bar.close_time > since], self.replay)


def read_all(recordings: tuple[Recording, ...], earliest_ms: int) -> list[Bar]:
    """The bars of several recordings from `earliest_ms` on, in the order in which they closed."""
    bars = (read_bars(r.path, r.symbol, r.interval, earliest_ms=earliest_ms) for r in recordings)
    return list(in_close_order(bars))
