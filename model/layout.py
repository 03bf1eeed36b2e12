"""The columns of an array of bars: a series' own, the news of each bar, the bars of its leaders.

```
 open high low close base quote | news, where they are read | leader 1, six | leader 2, six | ...
```
A leader's bar is that of the same time, a row of NaN where it is missing or the series has no such
leader. How many columns there are says which: 6, 11, and 6 more for each leader.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BAR_COLUMNS: Final = 6
OPEN, HIGH, LOW, CLOSE, BASE_VOLUME, QUOTE_VOLUME = range(BAR_COLUMNS)
# Of the articles of one bar; 0 each where there is none. Shares are of articles with a score
# beyond VADER's own limits of what is neutral.
NEWS_COLUMNS: Final = ("count", "mean", "weighted_mean", "positive", "negative")


@dataclass(frozen=True)
class Layout:
    """Which columns there are: of the bars alone, of their news, and of so many leaders."""

    news: bool = False
    leaders: int = 0

    @classmethod
    def of(cls, bars: NDArray[np.floating]) -> "Layout":
        """The layout of bars (n_bars, n_columns).

        >>> Layout.of(np.empty((0, 23)))
        Layout(news=True, leaders=2)
        """
        leaders, rest = divmod(bars.shape[1] - BAR_COLUMNS, BAR_COLUMNS)
        return cls(rest == len(NEWS_COLUMNS), leaders)

    @property
    def columns(self) -> int:
        """How many there are in all."""
        return self._own + self.leaders * BAR_COLUMNS

    @property
    def news_columns(self) -> slice:
        """Where the news are; empty where there are none."""
        return slice(BAR_COLUMNS, self._own)

    def leader_columns(self, place: int) -> slice:
        """Where the bars of a leader are; the first has place 0."""
        start = self._own + place * BAR_COLUMNS
        return slice(start, start + BAR_COLUMNS)

    @property
    def _own(self) -> int:
        return BAR_COLUMNS + len(NEWS_COLUMNS) * self.news


def only(bars: Floats, news: bool, leaders: bool) -> Floats:
    """The bars with no columns but their own, of the news and of the leaders where asked for."""
    layout = Layout.of(bars)
    own, others = bars[:, :BAR_COLUMNS], bars[:, layout.leader_columns(0).start :]
    parts = [own, *[bars[:, layout.news_columns]] * news, *[others] * leaders]
    return own if len(parts) == 1 else np.concatenate(parts, axis=1)


def needed_close(bars: Floats, leaders: Sequence[str | None]) -> Floats:
    """The own close (n_bars,), NaN where a window that holds the bar is not complete: where the bar
    itself or that of one of the series' leaders is missing.

    `leaders` as `Market.of` has them; bars without the columns of leaders need none.

    >>> bars = np.ones((2, 18))
    >>> bars[1, 6:] = np.nan
    >>> needed_close(bars, (None, None)).tolist(), needed_close(bars, (None, "BTC-USD")).tolist()
    ([1.0, 1.0], [1.0, nan])
    """
    layout = Layout.of(bars)
    named = [place for place, name in enumerate(leaders[: layout.leaders]) if name is not None]
    closes = [bars[:, layout.leader_columns(place)][:, CLOSE] for place in named]
    missing = np.isnan(closes).any(axis=0) if closes else False
    return np.where(missing, np.nan, bars[:, CLOSE])
