"""What an article says, and when: scores, and the bar that an article counts for."""

import csv

import numpy as np
import pytest

from model.features import NEWS_FEATURE_NAMES
from model.news import ScoredArticles, news_of_bars, with_news
from model.sentiment import _LEXICON, SCORED_CHARACTERS, plain_text, score
from tests.synthetic import random_series, window_features

MINUTE = 60_000


def test_words_of_this_market_mean_what_they_mean_here() -> None:
    assert score("Ethereum plunges as liquidations mount") < -0.4
    assert score("Bitcoin soars to ATH") > 0.4
    assert score("Grayscale Bitcoin Trust adds an asset") == 0.0


def test_every_term_of_the_lexicon_has_a_score_in_range_and_a_reason() -> None:
    terms = list(csv.DictReader(_LEXICON.read_text().splitlines()))
    assert len({row["term"] for row in terms}) == len(terms) > 100
    assert all(-4 <= float(row["score"]) <= 4 and row["reason"] for row in terms)
    assert all(row["term"] == row["term"].lower() and row["term"].split() for row in terms)


def test_an_empty_body_leaves_the_title_to_speak() -> None:
    assert score("Bitcoin rallies", "") == score("Bitcoin rallies", " \n ") > 0


def test_markup_addresses_and_scripts_say_nothing() -> None:
    marked = "<div class='bad'><p>Prices <b>soar</b>.<br/></p></div><script>hack()</script>"
    assert score("", f"{marked} https://scam.example/crash <!-- fraud -->") == score(
        "", "Prices soar."
    )


def test_a_cut_tag_and_stray_brackets_do_no_harm() -> None:
    assert plain_text("1 < 2 and 3 > 2 <a href='x") == "1 < 2 and 3 > 2"


@pytest.mark.parametrize(
    "text", ["بيتكوين يرتفع\u200f", "\u202eتحطم\u202c", "比特币暴涨", "Биткоин растёт"]
)
def test_another_language_scores_zero(text: str) -> None:
    assert score(text, text) == 0.0


def test_marks_of_direction_do_not_hide_a_word() -> None:
    assert score("\u202bBitcoin\u202c rallies\u200f") == score("Bitcoin rallies")


@pytest.mark.parametrize(
    "piece", ["Prices soar. ", "<", "<script", "<!--", "&amp;", "good but bad "]
)
def test_a_megabyte_is_read_as_far_as_its_beginning(piece: str) -> None:
    body = piece * (1_000_000 // len(piece))
    assert score("Up", body) == pytest.approx(score("Up", body[: 10 * SCORED_CHARACTERS]))


def test_the_score_stays_in_range_whatever_is_in_the_text() -> None:
    noise = np.random.default_rng(1)
    for _ in range(50):
        text = "".join(map(chr, noise.integers(1, 0xD7FF, 300)))
        assert -1 <= score(text, text) <= 1


def articles(*rows: tuple[int, tuple[str, ...], float]) -> ScoredArticles:
    return ScoredArticles.of([(at, coins, score, 1.0) for at, coins, score in rows])


def news(found: ScoredArticles, symbol: str = "BTC-USD", n_bars: int = 3) -> np.ndarray:
    return news_of_bars(found, symbol, MINUTE, 0, n_bars)


def test_an_article_counts_for_the_bar_in_which_it_became_available() -> None:
    # bars         |0     |1     |2     |
    # available           *      *        the first ms of a bar belongs to it
    found = news(articles((2 * MINUTE - 1, (), 0.5), (2 * MINUTE, (), -0.5)))
    assert found[:, 0].tolist() == [0, 1, 1]
    assert found[:, 1].tolist() == [0, 0.5, -0.5]


def test_an_article_counts_for_its_coins_and_one_without_for_all() -> None:
    found = articles((0, ("BTC", "ETH"), 0.5), (0, ("LTC",), 0.5), (0, (), 0.5))
    counts = {s: news(found, s)[0, 0] for s in ("BTC-USD", "BTC-EUR", "ETH-USD", "XRP-USD")}
    assert counts == {"BTC-USD": 2, "BTC-EUR": 2, "ETH-USD": 2, "XRP-USD": 1}
    for symbol in ("KRAKEN:BTC-USD", "BTC-USDT:USDT", "COINBASE:ETH-USD:USD", "A.B:LTC-EUR"):
        assert news(found, symbol)[0, 0] == 2, symbol


def test_no_news_is_a_count_of_zero_and_no_gap() -> None:
    series = random_series(100, seed=1)
    features, _ = window_features(with_news(series, articles()).bars, np.array([99]), 60)
    assert features.shape[2] == len(NEWS_FEATURE_NAMES)
    assert (features[..., -4:] == 0).all()


def test_no_feature_of_a_bar_knows_an_article_that_became_available_later() -> None:
    series = random_series(100, seed=2)
    close = series.first_open_time + 90 * MINUTE  # of bar 89
    ends = np.array([88, 89, 90])
    before, _ = window_features(with_news(series, articles()).bars, ends, 60)
    later = articles((close, ("BTC",), 0.9))
    after, _ = window_features(with_news(series, later).bars, ends, 60)
    np.testing.assert_array_equal(before[:2], after[:2])
    assert (before[2] != after[2]).any()


def test_news_leave_the_features_of_the_price_as_they_are() -> None:
    series = random_series(100, seed=3)
    found = with_news(series, articles((series.first_open_time + 95 * MINUTE, (), 0.9)))
    plain, scale = window_features(series.bars, np.array([99]), 60)
    both, same_scale = window_features(found.bars, np.array([99]), 60)
    np.testing.assert_array_equal(plain, both[..., : plain.shape[2]])
    np.testing.assert_array_equal(scale, same_scale)


def test_many_articles_that_agree_say_more_than_one() -> None:
    series = random_series(100, seed=4)
    at = series.first_open_time + 99 * MINUTE
    one, many = (
        window_features(
            with_news(series, articles(*[(at, (), 0.3)] * count)).bars, np.array([99]), 60
        )[0][0, -1, NEWS_FEATURE_NAMES.index("news_score")]
        for count in (1, 16)
    )
    assert many == pytest.approx(4 * one)
