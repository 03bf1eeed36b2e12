"""Whether the ablation sees an effect of the news where there is one, and only there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conf.errors import ConfigurationError, NotEnoughBars
from conf.sections import Evaluation
from ingest.sources.recorded_news import read_headlines
from jobs.ablation import BARS, NEWS, draw, recorded
from model.ablation import Ablation, Proof, ablate, compare, news_against_none, shuffled_news
from model.news import ScoredArticles, with_news
from model.planted import planted_series
from model.series import Series
from model.training import ModelSettings
from store.articles import scored
from tests.synthetic import random_series, write_file

HOUR = 3_600_000
DELAY = 900_000
ONE_FOLD = Evaluation(folds=1, first_train_share=0.6)


@pytest.fixture
def quick(small: ModelSettings) -> ModelSettings:
    """One horizon and one epoch: the linear path has to see the effect."""
    training = small.training.model_copy(update={"horizons": (1,), "units": 2, "max_epochs": 1})
    return replace(small, training=training)


def test_a_planted_effect_is_found(small: ModelSettings) -> None:
    one_bar = replace(small, training=small.training.model_copy(update={"horizons": (1,)}))
    found = ablate(planted_series(seed=1, effect=0.15), one_bar, ONE_FOLD, 1)
    assert found.against_without.is_better
    assert found.against_without.p_value < 0.01
    assert found.against_shuffled.p_value < 0.01
    # 0.15 is what can be had, and the interval of the 600 windows holds it
    assert found.against_without.low < 0.15 < found.against_without.high + 0.05


def test_without_an_effect_none_is_found_more_often_than_by_chance(quick: ModelSettings) -> None:
    """Of 8 at a level of 5 % more than 2 would come by chance once in 170 times."""
    found = [
        news_against_none(planted_series(seed, 0.0, n_bars=400), quick, ONE_FOLD, seed).is_better
        for seed in range(8)
    ]
    assert sum(found) <= 2


def reports_of_the_next_bar(delay_ms: int, count: int = 700) -> Series:
    """Articles that tell the move of a bar, dated back to ten minutes before it opened.

    Known `delay_ms` after that date they are old news; known at their date they would be a leak.
    """
    series = random_series(count, seed=5, timeframe="1h")
    moved = np.diff(np.log(series.close))
    dated = series.first_open_time + np.arange(1, count) * HOUR - 600_000
    scores = np.clip(moved / moved.std() / 3, -1, 1)
    return with_news(
        series,
        ScoredArticles.of(
            (int(at) + delay_ms, ("BTC",), float(score), 1.0)
            for at, score in zip(dated, scores, strict=True)
        ),
    )


def test_news_of_what_has_happened_do_not_help(quick: ModelSettings) -> None:
    late = news_against_none(reports_of_the_next_bar(DELAY), quick, ONE_FOLD, 1)
    assert not late.is_better


def test_a_leak_by_publication_time_alone_would_be_seen(quick: ModelSettings) -> None:
    leaking = news_against_none(reports_of_the_next_bar(0), quick, ONE_FOLD, 1)
    assert leaking.p_value < 0.01
    assert leaking.difference > 0.2


def test_a_recorded_headline_counts_from_the_delay_after_its_publication() -> None:
    articles = list(read_headlines(NEWS, DELAY))
    assert len(articles) == 7494
    assert {a.available_at - a.published_at for a in articles} == {DELAY}
    assert {a.coins for a in articles} == {("BTC",), ("ETH",), ()}


def test_an_article_listed_twice_counts_once_from_the_first_time() -> None:
    article = next(iter(read_headlines(NEWS, DELAY)))
    again = replace(article, available_at=article.available_at + HOUR)
    found = scored([again, article, article])
    assert found.available_at.tolist() == [article.available_at]


def test_votes_of_readers_weigh() -> None:
    up, down = list(read_headlines(NEWS, DELAY))[:2]
    found = scored([replace(up, reach=3), replace(down, reach=None)])
    assert sorted(found.weight.tolist()) == [1.0, 4.0]


def test_the_shipped_headlines_fall_into_the_shipped_days() -> None:
    series = recorded(NEWS, BARS, "BTC-USD", DELAY)
    counts = series.bars[:, 6]
    # of the coin and of the market; the others are about Ethereum
    about_other_coins = sum(a.coins == ("ETH",) for a in read_headlines(NEWS, DELAY))
    assert counts.sum() == 7494 - about_other_coins


def test_bars_without_a_headline_and_a_missing_file_are_named(tmp_path: Path) -> None:
    write_file(tmp_path / "bars.csv.gz", random_series(100, seed=1))
    with pytest.raises(NotEnoughBars, match="no article"):
        recorded(NEWS, tmp_path / "bars.csv.gz", "BTC-USD", DELAY)
    with pytest.raises(ConfigurationError, match="no file"):
        recorded(tmp_path / "none.csv.gz", BARS, "BTC-USD", DELAY)


def test_shuffling_keeps_what_the_news_say_and_loses_when() -> None:
    series = planted_series(seed=2, effect=0.0, n_bars=300)
    shuffled = shuffled_news(series, seed=1)
    np.testing.assert_array_equal(series.bars[:, :6], shuffled.bars[:, :6])
    np.testing.assert_array_equal(
        np.sort(series.bars[:, 6:], axis=0), np.sort(shuffled.bars[:, 6:], axis=0)
    )
    assert (series.bars[:, 6:] != shuffled.bars[:, 6:]).any()


def test_two_equal_forecasts_do_not_differ() -> None:
    actual = np.random.default_rng(1).normal(size=100)
    found = compare(actual**2, actual**2, actual, horizon=1, seed=1)
    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    same = compare(np.ones(50), np.ones(50), np.ones(50), 1, 1)
    one = Ablation(50, 50, {}, same, same, np.arange(50), np.zeros(50))
    draw(tmp_path / "figure.png", Proof(0.1, one, 1, 0), [one])
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
