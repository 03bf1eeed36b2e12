"""What the model sees: one implementation for training, the stream and evaluation.

`FEATURES` is the whole of it: a new feature is one more entry there. A model names those that it
was trained on, in their order, and is served with these.

A feature of a bar looks only at that bar and at the `volatility_bars(lookback)` bars before it, and
is expressed in units of the volatility there, so that no price level is learned. It does not depend
on the window that the bar is seen through: every window ending anywhere shares it.

```
 bars of a window (lookback 60)   0 1 2 ... 29 30 31 ... 59 60
 closes needed                    x x x  x  x  x  x  x   x  x     bars_needed = 61
 steps that the network reads                  s  s  s   s  s     sequence_steps = 30
 volatility at the last step                      |---30---|
```
"""

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from model.layout import BAR_COLUMNS, BASE_VOLUME, CLOSE, HIGH, LOW, QUOTE_VOLUME, Layout

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.integer]
AnyNumber = TypeVar("AnyNumber", bound=np.generic)

MIN_LOOKBACK: Final = 10
# A series that stood still has no volatility to divide by. A hundredth of a basis point lies
# under the tick of anything traded, so that it changes no window in which the price moved.
MIN_VOLATILITY: Final = 1e-6
# Beyond this many volatilities an input says "extreme"; how extreme is noise to a network.
FEATURE_LIMIT: Final = 8.0
_SHORT_BARS: Final = 5
# Pace is the logarithm of short volatility over this. How far a return goes on, and how far a close
# at the end of its bar's range comes back, depends on it (LeBaron 1992); a line needs the product
# to say so. Any value would do.
_PACE: Final = 1e-3
# Each bar further back weighs this much less in the average that `ema_gap` is the distance from.
_EMA_DECAY: Final = 0.9
# The share of returns that went on, less that of those that turned, times this: chance alone makes
# 0.2 of it over 30 bars, and a feature should be about one.
_CONTINUED: Final = 4.0
# Windows that a network takes at a time. Measured fastest on one core: more leave the cache.
_BATCH_SIZE: Final = 256
# The spread of one article's score, as measured on 7,494 headlines.
_ARTICLE_SPREAD: Final = 0.35


class Measures:
    """What the features of some bars are made of, each (n_bars,).

    `bars` (n_bars, 6), `news` (n_bars, 5) or without columns; NaN where a bar that a measure needs
    is missing. `follower` are those of the series that these bars lead. All are worked out at once:
    on the few bars of a micro-batch that takes less time than to ask which are needed.
    """

    def __init__(
        self, bars: Floats, news: Floats, lookback: int, follower: "Measures | None" = None
    ) -> None:
        self.bars = bars
        self.follower = self if follower is None else follower
        self._news = news
        self.span = volatility_bars(lookback)
        log_price = np.log(bars[:, :4])
        self.log_close = log_price[:, CLOSE]
        self.log_return = np.full(len(bars), np.nan)
        self.log_return[1:] = np.diff(self.log_close)
        self.drift = _trailing_mean(self.log_return, self.span) * math.sqrt(self.span)
        self.continuation = _continuation(self.log_return, self.span)
        squared = self.log_return**2
        self.volatility = np.maximum(np.sqrt(_trailing_mean(squared, self.span)), MIN_VOLATILITY)
        self.scaled_return = self.log_return / self.volatility
        # Over the last few returns; from it follows how brisk the trade is.
        short = _trailing_mean(squared, min(_SHORT_BARS, self.span))
        self.short_volatility = np.sqrt(short)
        self.pace = np.log(np.maximum(self.short_volatility, MIN_VOLATILITY) / _PACE)
        self.volume = _relative_volume(bars[:, BASE_VOLUME], self.span)
        # The middle of a bar's range as a log price, its move, and the close seen from there.
        high, low = log_price[:, HIGH], log_price[:, LOW]
        self.range = high - low
        mid = (high + low) / 2
        self.mid_return = np.append(np.nan, np.diff(mid)) / self.volatility
        self.close_in_range = 2 * (self.log_close - mid) / self.volatility
        self.above_average = self.log_close - _trailing_ema(self.log_close, self.span)

    def news(self, column: int) -> Floats:
        """A column of NEWS_COLUMNS."""
        return self._news[:, column]


@dataclass(frozen=True)
class Feature:
    """A number of each bar, and what training has to know about it.

    `of` works it out. `mirrored` is what becomes of it where every move goes the other way: it
    changes its "sign", stays the "same", or becomes the feature that is named. `line` says at which
    of its last steps the linear path reads it. `of_news` where it needs the columns of the news;
    `of_leaders` where it is read of each leader, too, under the name `leader1_NAME`, 0 where there
    is none. `needs` is the field of a bar that some sources lack; without it the feature says
    nothing.
    """

    name: str
    of: Callable[[Measures], Floats]
    mirrored: str = "sign"
    line: Literal["nowhere", "last step", "every step"] = "nowhere"
    of_news: bool = False
    of_itself: bool = True
    of_leaders: bool = False
    needs: str | None = None


# The line reads the return and the news score of each step; of the last step also what says whether
# its move will go on or come back. With more it does much worse on some series.
FEATURES: Final = (
    Feature("log_return", lambda m: m.scaled_return, line="every step", of_leaders=True),
    Feature("close_in_range", lambda m: m.close_in_range, line="last step", of_leaders=True),
    Feature("range", lambda m: m.range / m.volatility, mirrored="same"),
    Feature(
        "vwap_gap",
        lambda m: _vwap_gap(m.bars, m.log_close) / m.volatility,
        needs="quote_volume",
    ),
    Feature("drift", lambda m: m.drift / m.volatility),
    Feature("short_volatility", lambda m: m.short_volatility / m.volatility, mirrored="same"),
    Feature("volume", lambda m: m.volume, mirrored="same"),
    Feature("signed_volume", lambda m: m.scaled_return * m.volume),
    Feature("paced_return", lambda m: m.scaled_return * m.pace, line="last step"),
    Feature("paced_close", lambda m: m.close_in_range * m.pace, line="last step"),
    Feature(
        "continued_close",
        lambda m: m.close_in_range * _CONTINUED * m.continuation,
        line="last step",
    ),
    Feature("ema_gap", lambda m: m.above_average / m.volatility),
    Feature("mid_return", lambda m: m.mid_return, line="last step", of_leaders=True),
    Feature("paced_mid", lambda m: m.mid_return * m.pace, line="last step"),
    Feature("ahead", lambda m: _ahead(m), line="last step", of_itself=False, of_leaders=True),
    Feature("news_count", lambda m: np.log1p(m.news(0)), mirrored="same", of_news=True),
    Feature("news_score", lambda m: _news_score(m), line="every step", of_news=True),
    Feature("news_positive", lambda m: m.news(3), mirrored="news_negative", of_news=True),
    Feature("news_negative", lambda m: m.news(4), mirrored="news_positive", of_news=True),
)
_BY_NAME: Final = {feature.name: feature for feature in FEATURES}
_OF_LEADERS: Final = tuple(feature for feature in FEATURES if feature.of_leaders)
_LEADER: Final = re.compile(r"leader([1-9])_(\w+)")


def feature_names(layout: Layout) -> tuple[str, ...]:
    """The names of all features that bars with these columns have.

    >>> alone, led = feature_names(Layout()), feature_names(Layout(leaders=1))
    >>> led[len(alone) :]
    ('leader1_log_return', 'leader1_close_in_range', 'leader1_mid_return', 'leader1_ahead')
    """
    itself = (feature for feature in FEATURES if feature.of_itself)
    own = [feature.name for feature in itself if layout.news or not feature.of_news]
    places = range(1, layout.leaders + 1)
    return *own, *(f"leader{place}_{feature.name}" for place in places for feature in _OF_LEADERS)


FEATURE_NAMES: Final = feature_names(Layout())
NEWS_FEATURE_NAMES: Final = feature_names(Layout(news=True))


class Input(NamedTuple):
    """A feature of the series itself, or of its leader at a place, the first being 1."""

    feature: Feature
    leader: int


@cache
def input_named(name: str) -> Input:
    """What a model reads under this name; raises KeyError where there is no such feature.

    >>> input_named("leader2_log_return").leader
    2
    """
    led = _LEADER.fullmatch(name)
    feature = _BY_NAME[led[2] if led else name]
    if not (feature.of_leaders if led else feature.of_itself):
        raise KeyError(name)
    return Input(feature, int(led[1]) if led else 0)


def reading(names: Iterable[str], fields: Collection[str]) -> list[str]:
    """Those of the features `names` that need one of the fields of a bar.

    >>> reading(["log_return", "vwap_gap"], {"quote_volume", "trades"})
    ['vwap_gap']
    """
    return [name for name in names if input_named(name).feature.needs in fields]


def unknown_features(names: Sequence[str]) -> list[str]:
    """Those of `names` that are no feature.

    >>> unknown_features(["log_return", "leader1_log_return", "leader1_news_score", "phase"])
    ['leader1_news_score', 'phase']
    """
    unknown = []
    for name in names:
        try:
            input_named(name)
        except KeyError:
            unknown.append(name)
    return unknown


def bars_needed(lookback: int) -> int:
    """How many consecutive bars a window takes, with the one before its first return.

    >>> bars_needed(60)
    61
    """
    return lookback + 1


def volatility_bars(lookback: int) -> int:
    """How many returns the volatility at a bar is taken over.

    >>> volatility_bars(60)
    30
    """
    return lookback // 2


def sequence_steps(lookback: int) -> int:
    """How many bars the network reads: those with a full volatility behind them.

    >>> sequence_steps(60)
    30
    """
    return lookback - volatility_bars(lookback)


def complete_windows(close: Floats, lookback: int) -> Bools:
    """Where the window that ends at a bar has every bar.

    `close` (n_bars,) holds NaN where a bar is missing. Returns (n_bars,).

    >>> complete_windows(np.array([1.0, 2.0, 3.0, np.nan, 5.0]), lookback=2).tolist()
    [False, False, True, False, False]
    """
    needed = bars_needed(lookback)
    complete = np.zeros(len(close), dtype=bool)
    if len(close) >= needed:
        present = np.concatenate(([0], np.cumsum(~np.isnan(close))))
        complete[needed - 1 :] = present[needed:] - present[:-needed] == needed
    return complete


def bar_features(
    bars: Floats, lookback: int, names: Sequence[str] | None = None
) -> tuple[NDArray[np.float32], Floats]:
    """The features of each bar, and the volatility of one bar's log return there.

    `bars` (n_bars, n_columns) as in `model.layout`, on the interval's grid, a missing bar is a row
    of NaN, an unknown quote volume NaN alone. `names` says which features, in which order; all that
    the bars have by default. Returns (n_bars, n_features) and (n_bars,); NaN where a bar that they
    need is missing, and for features of a leader 0.
    """
    layout = Layout.of(bars)
    inputs = [input_named(name) for name in (feature_names(layout) if names is None else names)]
    places = {read.leader for read in inputs} - {0}
    columns = {place: layout.leader_columns(place - 1) for place in places}
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        news = bars[:, layout.news_columns]
        own = Measures(bars[:, :BAR_COLUMNS], news, lookback)
        measures = {
            leader: Measures(bars[:, its], news, lookback, own) for leader, its in columns.items()
        }
        measures[0] = own
        found = [feature.of(measures[leader]) for feature, leader in inputs]
        features = np.stack(found, axis=1, dtype=np.float32, casting="same_kind")
    for column, (_, leader) in enumerate(inputs):
        if leader:
            np.nan_to_num(features[:, column], copy=False)
    np.clip(features, -FEATURE_LIMIT, FEATURE_LIMIT, out=features)
    return features, own.volatility


def window_inputs(
    features: NDArray[np.float32], ends: Indices, lookback: int
) -> NDArray[np.float32]:
    """The rows of `features` (n_bars, n_features) that each window reads which ends at `ends`.

    Returns (n_windows, sequence_steps, n_features), a copy: thirty times as large as `features`
    where every bar is an end, so that who has many asks for some at a time.
    """
    shape = sequence_steps(lookback), features.shape[1]
    if len(ends) == 0:
        return np.empty((0, *shape), np.float32)
    # A window is one stretch of memory, and is copied as one.
    return sliding_window_view(features, shape)[:, 0][np.asarray(ends) - (shape[0] - 1)]


def batches(rows: NDArray[AnyNumber]) -> Iterator[NDArray[AnyNumber]]:
    """Some rows at a time, as many as a network takes in one go."""
    for start in range(0, len(rows), _BATCH_SIZE):
        yield rows[start : start + _BATCH_SIZE]


def mirrored(names: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """How a market looks in which every move goes the other way: features[..., order] * sign.

    Returns (n_features,) each, for features of these names.

    >>> mirrored(("log_return", "volume", "news_positive", "news_negative"))
    (array([0, 1, 3, 2]), array([-1.,  1.,  1.,  1.], dtype=float32))
    """
    kinds = {name: input_named(name).feature.mirrored for name in names}
    order = [names.index(kind if kind in kinds else name) for name, kind in kinds.items()]
    sign = [-1 if kind == "sign" else 1 for kind in kinds.values()]
    return np.array(order), np.array(sign, np.float32)


def window_targets(
    close: Floats, ends: Indices, scale: Floats, horizons: tuple[int, ...]
) -> Floats:
    """What the network learns: the log return to each horizon, over its expected size.

    The size expected of `h` bars is `scale * sqrt(h)`. Returns (n_windows, n_horizons); NaN where
    the bar at a horizon is missing or not there yet.

    >>> close = np.array([100.0, 101.0, 102.01])
    >>> np.round(window_targets(close, np.array([0, 1]), np.array([0.01, 0.01]), (1, 2)), 3)
    array([[0.995, 1.407],
           [0.995,   nan]])
    """
    ahead = np.asarray(ends)[:, None] + np.asarray(horizons)
    padded: Floats = np.append(np.log(close), np.full(max(horizons), np.nan))
    moved: Floats = padded[ahead] - padded[np.asarray(ends)][:, None]
    return moved / horizon_scale(scale, horizons)


def horizon_scale(scale: Floats, horizons: tuple[int, ...]) -> Floats:
    """The size expected of the log return to each horizon, (n_windows, n_horizons).

    >>> horizon_scale(np.array([0.5]), (1, 4)).tolist()
    [[0.5, 1.0]]
    """
    bars: Floats = np.sqrt(np.asarray(horizons, dtype=float))
    return scale[:, None] * bars


def _ahead(m: Measures) -> Floats:
    """How much farther the leader has moved from its average than the series that follows."""
    return (m.above_average - m.follower.above_average) / m.follower.volatility


def _news_score(m: Measures) -> Floats:
    """The weighted mean in units of what chance makes of so many articles."""
    return m.news(2) * np.sqrt(m.news(0)) / _ARTICLE_SPREAD


def trailing_sum(values: Floats, span: int, decay: float = 1.0) -> Floats:
    """Sum over each value and the `span - 1` before it, NaN where one of them is.

    A value `age` bars old counts `decay ** age`. Each sum of 2k values is made of two of k, whole
    columns at a time, and of nothing outside its own window: a running sum would carry the rounding
    of far-off bars, and the stream would then differ from a batch that starts elsewhere.

    >>> trailing_sum(np.array([1.0, 2.0, 3.0, 4.0]), span=3).tolist()
    [nan, nan, 6.0, 9.0]
    """
    sums = np.full(len(values), np.nan)
    if len(values) < span:
        return sums
    # `part` are the sums of 1, 2, 4 ... values, `total` those of the `covered` newest ones.
    part, total, covered, length = values, values[:0], 0, 1
    while True:
        if span & length:
            total = _joined(total, part, length, decay**covered) if covered else part
            covered += length
        if covered == span:
            break
        part = _joined(part, part, length, decay**length)
        length *= 2
    sums[span - 1 :] = total
    return sums


def _joined(newer: Floats, older: Floats, n_older: int, weight: float) -> Floats:
    """Sums of neighbouring stretches, `n_older` values in the older one, which has `weight`."""
    older = older[: len(newer) - n_older]
    return newer[n_older:] + (older if weight == 1.0 else weight * older)


def _trailing_mean(values: Floats, span: int) -> Floats:
    """Mean over each value and the `span - 1` before it, NaN where one of them is."""
    return trailing_sum(values, span) / span


def _trailing_ema(values: Floats, span: int) -> Floats:
    """Mean over each value and the `span - 1` before it, the newest weighing most.

    >>> np.round(_trailing_ema(np.array([1.0, 1.0, 2.9]), span=2), 6).tolist()
    [nan, 1.0, 2.0]
    """
    weights = _EMA_DECAY ** np.arange(span)
    return trailing_sum(values, span, _EMA_DECAY) / float(weights.sum())


def _continuation(log_return: Floats, span: int) -> Floats:
    """How often the last `span` returns went on in the direction of the one before, less how often
    they turned, as shares. Signs alone: one crash says no more than any other bar.

    >>> _continuation(np.array([0.1, 0.2, 0.1, -0.1, -0.2]), span=3).tolist()
    [nan, nan, 1.0, 0.0, 0.0]
    """
    direction = np.sign(log_return)
    same = np.full(len(direction), np.nan)
    same[1:] = direction[1:] * direction[:-1]
    return _trailing_mean(same, span - 1)


def _relative_volume(volume: Floats, span: int) -> Floats:
    """Logarithm of volume over its trailing mean, 0 where it equals it; zero volume is finite."""
    mean = _trailing_mean(volume, span)
    return np.where(mean > 0, np.log1p(volume / mean) - np.log(2.0), mean)


def _vwap_gap(bars: Floats, log_close: Floats) -> Floats:
    """How far the close lies over the bar's average traded price, 0 where that is unknown."""
    average = bars[:, QUOTE_VOLUME] / bars[:, BASE_VOLUME]
    gap = log_close - np.log(average)
    return np.where(np.isfinite(gap), gap, 0.0)
