"""A made-up market for load: any number of symbols, any range of time, always the same bars."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Final

import numpy as np
import numpy.typing as npt

from conf.errors import ConfigurationError
from conf.timeframes import TIMEFRAME_MS
from ingest.bar import Bar
from ingest.sources import Source, SourceOptions, Terms, not_served

MINUTE_MS: Final = TIMEFRAME_MS["1m"]
MAX_BARS: Final = 2_000
MAX_MINUTES: Final = 144_000  # a hundred days at once: a tenth of a second
# Noise at 2 ** 0 ... 2 ** 19 minutes (a year), each slower by a factor of two and larger by its
# root: what a random walk is, without walking from its beginning.
OCTAVES: Final = 20
MINUTE_VOLATILITY: Final = 0.0006

Floats = npt.NDArray[np.float64]


class Synthetic(Source):
    """Bars from a seed: `synthetic`, or `synthetic:SEED` for another market.

    The price of a symbol at a minute is a function of seed, symbol and minute alone, so any page,
    at any timeframe, shows the same market. It stands for load, not for how prices behave.
    """

    metered = False

    def __init__(self, options: SourceOptions) -> None:
        try:
            self._seed = int(options.argument or 0)
        except ValueError:
            raise ConfigurationError(
                f"ingest.source synthetic:{options.argument}: the seed must be a whole number"
            ) from None
        super().__init__(f"synthetic:{self._seed}", options)

    def terms(self, timeframe: str) -> Terms:
        """Any number of whole minutes, back to 1970."""
        minutes, rest = divmod(TIMEFRAME_MS[timeframe], MINUTE_MS)
        if rest:
            raise not_served(self.name, timeframe, "whole minutes")
        return Terms(min(MAX_BARS, MAX_MINUTES // minutes))

    def rows(
        self, symbol: str, timeframe: str, first_ms: int, last_ms: int
    ) -> Iterator[Sequence[float]]:
        """Make the bars in the range."""
        step = TIMEFRAME_MS[timeframe] // MINUTE_MS
        first = -(-first_ms // TIMEFRAME_MS[timeframe]) * step
        count = max(0, last_ms // TIMEFRAME_MS[timeframe] * step - first + step)
        closes = self._closes(symbol, first - 1, count + 1).tolist()
        volumes = self._volumes(symbol, first, count).tolist()
        for at in range(0, count, step):
            prices = closes[at : at + step + 1]  # the open is the close before
            high, low, close = max(prices), min(prices), prices[-1]
            base = math.fsum(volumes[at : at + step])
            yield (first + at) * MINUTE_MS, prices[0], high, low, close, base, base * close

    def stream(self, symbol: str, timeframe: str, first_ms: int, until_ms: int) -> Iterator[Bar]:
        """Yield the bars with `first_ms <= open_time < until_ms`, made page by page.

        `fetched_at` is the close, so that they are the same bytes each time.
        """
        length = self.terms(timeframe).page_bars * TIMEFRAME_MS[timeframe]
        for start in range(first_ms, until_ms, length):
            last_ms = min(start + length, until_ms) - 1
            for bar in self.fetch(symbol, timeframe, start, last_ms):
                yield replace(bar, fetched_at=bar.close_time)

    def _closes(self, symbol: str, first: int, count: int) -> Floats:
        minutes = np.arange(first, first + count)
        walk = np.zeros(count)
        for octave in range(OCTAVES):
            # a knot every 2 ** octave minutes, and straight lines between them
            knot = first >> octave
            knots = np.arange(knot, ((first + count) >> octave) + 2)
            noise = 2 * _uniform(f"{self._seed}/{symbol}/{octave}", knot, len(knots)) - 1
            walk += 2 ** (octave / 2) * np.interp(minutes, knots << octave, noise)
        level: float = 10 ** (4 * _uniform(f"{self._seed}/{symbol}", 0, 1)[0])
        return (level * np.exp(MINUTE_VOLATILITY * walk)).round(8)

    def _volumes(self, symbol: str, first: int, count: int) -> Floats:
        return (-np.log(_uniform(f"v/{symbol}", first, count))).round(6)


def synthetic_symbols(count: int) -> list[str]:
    """Names for `count` made-up coins.

    >>> synthetic_symbols(2)
    ['S0001-USD', 'S0002-USD']
    """
    return [f"S{number:04}-USD" for number in range(1, count + 1)]


def _uniform(key: str, first: int, count: int) -> Floats:
    """Numbers in (0, 1], shape `(count,)`, from the `first`-th on (-1 at least) of those of `key`.

    Philox makes any of them without those before, four at a time.
    """
    words = np.random.Philox(key=int.from_bytes(blake2b(key.encode(), digest_size=16).digest()))
    skipped, rest = divmod(first + 1, 4)
    words.advance(skipped)
    return ((words.random_raw(rest + count)[rest:] >> np.uint64(11)) + 1.0) / 2**53
