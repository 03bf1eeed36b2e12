"""The laws of the state of the news, on literal articles."""

import numpy as np
import pyarrow as pa

from stream.state.shard_news import KEPT_ARTICLES, SCHEMA, NewsOfShard, key_of


def table(*rows: tuple[str, int], coins: str = "BTC", score: float = 0.5) -> pa.Table:
    """Articles of an id, available at a time."""
    found = [
        {"key": key_of("wire", id_), "available_at": at, "coins": coins, "score": score}
        for id_, at in rows
    ]
    return pa.Table.from_pylist([{**row, "weight": 1.0} for row in found], SCHEMA)


def known(news: NewsOfShard, since: int, until: int) -> bool:
    return bool(news.known(np.array([since]), np.array([until]))[0])


def test_a_state_read_back_is_the_one_that_was_written() -> None:
    news = NewsOfShard.empty(silent_ms=10)
    news.add(table(("1", 5), ("2", 3)), listed_until=7)
    again = NewsOfShard.from_bytes(news.to_bytes(), silent_ms=10)
    assert again == news
    assert again.between(0, 10).available_at.tolist() == [3, 5]


def test_an_article_that_comes_twice_counts_once_from_the_first_time() -> None:
    news = NewsOfShard.empty(silent_ms=10)
    news.add(table(("1", 5)), listed_until=5)
    news.add(table(("1", 4), ("1", 9)), listed_until=9)
    assert news.between(0, 10).available_at.tolist() == [4]


def test_news_are_known_as_far_as_the_last_sign_of_life_and_a_little_longer() -> None:
    news = NewsOfShard.empty(silent_ms=10)
    assert not known(news, 0, 100)
    news.add(SCHEMA.empty_table(), listed_until=100)
    assert known(news, 0, 110)
    assert not known(news, 0, 111)


def test_a_sign_of_life_does_not_go_back() -> None:
    news = NewsOfShard.empty(silent_ms=0)
    news.add(SCHEMA.empty_table(), listed_until=100)
    news.add(SCHEMA.empty_table(), listed_until=50)
    assert news.listed_until == 100


def test_what_was_dropped_is_not_taken_for_no_news() -> None:
    news = NewsOfShard.empty(silent_ms=0)
    times = range(KEPT_ARTICLES + 10)
    news.add(table(*((str(at), at) for at in times)), listed_until=10**6)
    assert len(news.articles) == KEPT_ARTICLES
    assert known(news, 10, 100)
    assert not known(news, 9, 100)


def test_the_state_of_a_full_shard_stays_small() -> None:
    news = NewsOfShard.empty(silent_ms=0)
    news.add(table(*((str(at), at) for at in range(KEPT_ARTICLES + 10))), listed_until=1)
    assert len(news.to_bytes()) < 250_000
