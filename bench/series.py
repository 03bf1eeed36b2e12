"""The bars of every benchmark, a random walk of many symbols, and what is predicted of them."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from kafka.partitioner.default import murmur2

from conf.timeframes import TIMEFRAME_MS
from ingest.bar import Bar

SEED: Final = 8
PARTITIONS: Final = 4
# Of every network: how many bars it looks back on, and how many ahead it predicts.
LOOKBACK: Final = 60
HORIZONS: Final = (1, 5, 15)
MINUTE_MS: Final = TIMEFRAME_MS["1m"]
FIRST_OPEN_MS: Final = 1_704_067_200_000  # 2024-01-01


def symbols(count: int) -> list[str]:
    """Names that Kafka's own rule spreads evenly over the partitions.

    Uneven partitions would hold up the contenders that give each process its own ones.

    >>> names = symbols(8)
    >>> sorted((murmur2(name.encode()) & 0x7FFFFFFF) % PARTITIONS for name in names)
    [0, 0, 1, 1, 2, 2, 3, 3]
    """
    room = dict.fromkeys(range(PARTITIONS), -(-count // PARTITIONS))
    names: list[str] = []
    number = 0
    while len(names) < count:
        name = f"S{number:05d}-USD"
        number += 1
        partition = (murmur2(name.encode()) & 0x7FFFFFFF) % PARTITIONS
        if room[partition]:
            room[partition] -= 1
            names.append(name)
    return names


def random_walk(n_symbols: int, minutes: int) -> Iterator[list[Bar]]:
    """The bars of all symbols, one list a minute, as a feed would bring them.

    A longer walk begins with the shorter one.
    """
    names = symbols(n_symbols)
    moves, reaches, trades = (np.random.default_rng((SEED, part)) for part in range(3))
    log_open = np.full(n_symbols, np.log(100.0))
    for minute in range(minutes):
        log_close = log_open + moves.normal(0, 1e-3, n_symbols)
        reach = np.abs(reaches.normal(0, 3e-4, (2, n_symbols)))
        high = np.exp(np.maximum(log_open, log_close) + reach[0])
        low = np.exp(np.minimum(log_open, log_close) - reach[1])
        volume = trades.lognormal(0, 1, n_symbols)
        quote_volume = volume * (high + low + 2 * np.exp(log_close)) / 4
        columns = (np.exp(log_open), high, low, np.exp(log_close), volume, quote_volume)
        open_time = FIRST_OPEN_MS + minute * MINUTE_MS
        yield [
            Bar(name, "1m", open_time, o, h, lo, c, base, quote, "bench", open_time + MINUTE_MS)
            for name, o, h, lo, c, base, quote in zip(
                names, *(column.tolist() for column in columns), strict=True
            )
        ]
        log_open = log_close
