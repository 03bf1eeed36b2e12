"""What the news of a bar say together: columns beside the bar's prices.

An article belongs to the bar in whose interval it became available, and a prediction made at the
close of that bar has seen it. When it was published plays no part here.

```
 bars              | 10:00        | 10:01        | 10:02        |
 published  10:00:10   *
 available  10:01:20                   *            counts for 10:01, seen from 10:02:00 on
```
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from conf.symbol import coins_of
from model.layout import BAR_COLUMNS
from model.series import Series

Floats = NDArray[np.float64]

NEUTRAL_BELOW: Final = 0.05
# An article that names no coin is about the market: it counts for every coin.
EVERY_COIN: Final = "*"


@dataclass(frozen=True)
class ScoredArticles:
    """Articles as arrays, a row for each coin that an article is about, in any order.

    `available_at` (n,) epoch ms UTC: when it could have been known. `coin` (n,) of str, EVERY_COIN
    for one about the market. `score` (n,) from -1 to 1, `weight` (n,) positive.
    """

    available_at: NDArray[np.int64]
    coin: NDArray[np.object_]
    score: Floats
    weight: Floats

    @classmethod
    def of(cls, rows: Iterable[tuple[int, Sequence[str], float, float]]) -> Self:
        """From (available_at, coins, score, weight) of each article, no coins for the market.

        >>> ScoredArticles.of([(0, ("BTC", "ETH"), 0.5, 1.0), (1, (), 0.1, 1.0)]).coin.tolist()
        ['BTC', 'ETH', '*']
        """
        flat = [
            (at, coin, score, weight)
            for at, coins, score, weight in rows
            for coin in (coins or (EVERY_COIN,))
        ]
        at, coin, score, weight = zip(*flat, strict=True) if flat else ((), (), (), ())
        return cls(
            np.array(at, np.int64), np.array(coin, object), np.array(score), np.array(weight)
        )

    def __len__(self) -> int:
        return len(self.available_at)


def news_of_bars(
    articles: ScoredArticles, symbol: str, bar_ms: int, first_open_time: int, n_bars: int
) -> Floats:
    """The columns NEWS_COLUMNS (n_bars, 5) of the bars of `symbol` from `first_open_time` on.

    >>> articles = ScoredArticles.of([(60_000, ("BTC",), 0.5, 1.0), (119_999, (), -0.1, 3.0)])
    >>> news_of_bars(articles, "BTC-USD", 60_000, 0, 2).round(3).tolist()
    [[0.0, 0.0, 0.0, 0.0, 0.0], [2.0, 0.2, 0.05, 0.5, 0.5]]
    """
    row = (articles.available_at - first_open_time) // bar_ms
    named = (articles.coin == coins_of(symbol)[0]) | (articles.coin == EVERY_COIN)
    mine = (row >= 0) & (row < n_bars) & named
    row, score, weight = row[mine], articles.score[mine], articles.weight[mine]

    def total(values: NDArray[np.generic]) -> Floats:
        return np.bincount(row, values, minlength=n_bars).astype(float)

    count = total(np.ones(len(row)))
    columns = (
        count,
        _share(total(score), count),
        _share(total(score * weight), total(weight)),
        _share(total(score >= NEUTRAL_BELOW), count),
        _share(total(score <= -NEUTRAL_BELOW), count),
    )
    return np.stack(columns, axis=1)


def with_news(series: Series, articles: ScoredArticles) -> Series:
    """The series with the columns of its news, behind those of its own bars."""
    opens = series.open_times(np.arange(len(series.bars) + 1))
    news = np.concatenate(
        [
            news_of_bars(articles, series.symbol, series.bar_ms, int(opens[row]), stop - row)
            for row, stop in series.pieces()
        ]
    )
    parts = [series.bars[:, :BAR_COLUMNS], news, series.bars[:, BAR_COLUMNS:]]
    return replace(series, bars=np.concatenate(parts, axis=1))


def _share(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
