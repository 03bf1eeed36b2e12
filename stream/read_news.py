"""From the messages of the topic `news` to scored articles: once, before they go to every shard."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import pyarrow as pa
from pyspark.sql import DataFrame

from conf.errors import MalformedArticle
from ingest.article import Article, Listed, read_message
from model.sentiment import score
from spark.arrow import map_in_arrow
from store.articles import weight
from store.schema import ARTICLES as ARTICLE_TABLE
from stream.contents import (
    ARTICLES,
    CONTENTS,
    KEPT_BYTES,
    NEWS,
    REJECTED,
    REJECTED_SCHEMA,
    contents,
)
from stream.packed import to_bytes
from stream.state.shard_news import SCHEMA, key_of

_NEWS: Final = SCHEMA.append(pa.field("listed_until", pa.int64()))


def read_news(messages: DataFrame, shard_keys: Sequence[int]) -> DataFrame:
    """Scored articles and heartbeats of Kafka's `messages`: `CONTENTS`.

    NEWS goes to each of `shard_keys`, since a coin's symbols may live anywhere; ARTICLES and
    REJECTED to the one that the message's partition gives.
    """

    def packed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            rows = batch.to_pylist()
            if rows:
                yield _packed(rows, shard_keys)

    columns = messages.select("value", "topic", "partition", "offset")
    return map_in_arrow(columns, packed, CONTENTS)


def _packed(rows: list[dict[str, Any]], shard_keys: Sequence[int]) -> pa.RecordBatch:
    news, articles, rejected = _sorted(rows, time.time_ns() // 1_000_000)
    home = shard_keys[rows[0]["partition"] % len(shard_keys)]
    packed = to_bytes(pa.Table.from_pylist(news, _NEWS))
    out = [(key, packed, NEWS) for key in shard_keys] if news else []
    for content, found, schema in (
        (ARTICLES, articles, ARTICLE_TABLE.packed),
        (REJECTED, rejected, REJECTED_SCHEMA),
    ):
        if found:
            out.append((home, to_bytes(pa.Table.from_pylist(found, schema)), content))
    return contents(out)


def _sorted(
    rows: list[dict[str, Any]], now_ms: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows for the state, for the table of articles, and of rejected messages with the reason."""
    news: list[dict[str, Any]] = []
    articles: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    for row in rows:
        try:
            found = _checked(row["value"], now_ms)
        except MalformedArticle as error:
            payload = (row["value"] or b"")[:KEPT_BYTES]
            rejected.append({**row, "reason": str(error), "payload": payload})
            continue
        if isinstance(found, Listed):
            news.append({"listed_until": min(found.listed_until, now_ms)})
        else:
            articles.append(_scored(found))
            news.append({**articles[-1], "key": key_of(found.provider, found.id)})
    return news, articles, rejected


def _checked(value: bytes | None, now_ms: int) -> Article | Listed:
    if value is None:
        raise MalformedArticle("the message is empty")
    found = read_message(value)
    reason = None if isinstance(found, Listed) else found.rejection_reason(now_ms)
    if reason is not None:
        raise MalformedArticle(reason)
    return found


def _scored(article: Article) -> dict[str, Any]:
    kept = {name: getattr(article, name, None) for name in ARTICLE_TABLE.columns}
    said = {"score": score(article.title, article.body), "weight": weight(article)}
    return {**kept, "coins": ",".join(article.coins), **said}
