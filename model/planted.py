"""Made-up series whose news move the price by a known amount, or by none: what an ablation has to
find, and what it must not find."""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.layout import BAR_COLUMNS
from model.news import ScoredArticles, with_news
from model.sentiment import score
from model.series import Series

Floats = NDArray[np.float64]

_TITLES: Final = (
    "Bitcoin soars as inflows surge",
    "Analysts are bullish on Ethereum",
    "Regulator approves a fund",
    "Developers meet in Lisbon",
    "Exchange publishes its quarterly report",
    "Miners face a lawsuit",
    "Bitcoin plunges as outflows mount",
    "Exchange hacked, coins stolen",
)
_VOLATILITY: Final = 0.01
_ARTICLES_PER_BAR: Final = 1.5
_HOUR_MS: Final = 3_600_000
# Any hour will do.
_START_MS: Final = 1_609_459_200_000


def planted_series(seed: int, effect: float, n_bars: int = 1_500) -> Series:
    """Hourly bars with news, of which each bar's explain the share `effect` of the variance of the
    next bar's return; 0 is no effect at all.

    The news are articles, scored like any others.
    """
    noise = np.random.default_rng(seed)
    articles = _articles(noise, n_bars)
    empty = Series("BTC-USD", "1h", _START_MS, np.ones((n_bars, BAR_COLUMNS)))
    news = with_news(empty, articles).bars[:, BAR_COLUMNS:]
    count, mean = news[:, 0], news[:, 1]
    signal = mean * np.sqrt(count)
    signal = (signal - signal.mean()) / signal.std()
    returns = noise.normal(size=n_bars) * np.sqrt(1 - effect)
    returns[1:] += np.sqrt(effect) * signal[:-1]
    return with_news(replace(empty, bars=_bars(returns * _VOLATILITY, noise)), articles)


def _articles(noise: np.random.Generator, n_bars: int) -> ScoredArticles:
    count = int(n_bars * _ARTICLES_PER_BAR)
    available_at = _START_MS + noise.integers(0, n_bars * _HOUR_MS, count)
    scores = np.array([score(title) for title in _TITLES])[noise.integers(0, len(_TITLES), count)]
    return ScoredArticles.of(
        zip(available_at.tolist(), [("BTC",)] * count, scores.tolist(), [1.0] * count, strict=True)
    )


def _bars(returns: Floats, noise: np.random.Generator) -> Floats:
    count = len(returns)
    close = 100 * np.exp(np.cumsum(returns))
    open_ = np.concatenate([close[:1], close[:-1]])
    high = np.maximum(open_, close) * (1 + np.abs(noise.normal(0, 0.3 * _VOLATILITY, count)))
    low = np.minimum(open_, close) * (1 - np.abs(noise.normal(0, 0.3 * _VOLATILITY, count)))
    volume = noise.lognormal(0, 0.5, count)
    return np.column_stack([open_, high, low, close, volume, volume * (open_ + close) / 2])
