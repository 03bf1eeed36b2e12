"""From an article to what counts of it: the one place where its score and weight are made."""

from collections.abc import Iterable

from ingest.article import Article
from model.news import ScoredArticles
from model.sentiment import score


def weight(article: Article) -> float:
    """How much an article counts among others of its bar: one, and one for each reader's vote.

    KryptoOracle weighs by reach; where a provider does not tell it, all articles weigh the same.
    """
    return 1.0 + (article.reach or 0)


def scored(articles: Iterable[Article]) -> ScoredArticles:
    """Score articles, each identity once: of several the one that was available first.

    >>> texts = ("Up", "", "wire", ("BTC",), (), "", "EN", None)
    >>> one = Article("example", "7", 0, *texts, 5, 5)
    >>> len(scored([one, one]))
    1
    """
    first: dict[tuple[str, str], Article] = {}
    for article in articles:
        known = first.get((article.provider, article.id))
        if known is None or article.available_at < known.available_at:
            first[article.provider, article.id] = article
    return ScoredArticles.of(
        (a.available_at, a.coins, score(a.title, a.body), weight(a)) for a in first.values()
    )
