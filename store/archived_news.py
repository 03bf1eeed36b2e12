"""The news that the stream has archived, beside the bars to train on."""

from collections.abc import Sequence
from pathlib import Path

from model.news import ScoredArticles, with_news
from model.series import Series
from store.views import open_duckdb


def with_archived_news(series: Sequence[Series], warehouse_dir: Path) -> list[Series]:
    """The series with the news that the stream has archived; as they are where it has none."""
    with open_duckdb(warehouse_dir) as connection:
        rows = connection.execute(
            "SELECT epoch_ms(available_at), coins, score, weight FROM articles"
        ).fetchall()
    if not rows:
        return list(series)
    articles = ScoredArticles.of(
        (at, tuple(filter(None, coins.split(","))), said, weighs)
        for at, coins, said, weighs in rows
    )
    return [with_news(one, articles) for one in series]
