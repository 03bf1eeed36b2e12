"""The news that the stream has archived, for the bars to train on."""

from collections.abc import Sequence
from pathlib import Path

from model.news import ScoredArticles, with_news
from model.series import Series
from store.views import read_sql


def with_archived_news(series: Sequence[Series], warehouse_dir: Path) -> list[Series]:
    """The series with the news that the stream has archived; as they are where it has none."""
    query = "SELECT epoch_ms(available_at) AS at, coins, score, weight FROM articles"
    rows = read_sql(warehouse_dir, query)
    if rows.empty:
        return list(series)
    articles = ScoredArticles.of(
        (int(at), tuple(filter(None, coins.split(","))), score, weight)
        for at, coins, score, weight in rows.itertuples(index=False)
    )
    return [with_news(one, articles) for one in series]
