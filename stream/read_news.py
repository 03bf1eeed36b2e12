"""From the messages of the topic `news` to scored articles: once, before they go to every shard."""

import time
from collections import defaultdict
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

_SCHEMAS: Final = {
    NEWS: SCHEMA.append(pa.field("listed_until", pa.int64())),
    ARTICLES: ARTICLE_TABLE.packed,
    REJECTED: REJECTED_SCHEMA,
}


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
    found = _by_content(rows, time.time_ns() // 1_000_000)
    home = shard_keys[rows[0]["partition"] % len(shard_keys)]
    packed = [(name, to_bytes(pa.Table.from_pylist(found[name], _SCHEMAS[name]))) for name in found]
    return contents(
        (key, table, name)
        for name, table in packed
        for key in (shard_keys if name == NEWS else [home])
    )


def _by_content(rows: list[dict[str, Any]], now_ms: int) -> dict[str, list[dict[str, Any]]]:
    """Rows for the state, for the table of articles, and of rejected messages with the reason."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        try:
            message = _checked(row["value"], now_ms)
        except MalformedArticle as error:
            payload = (row["value"] or b"")[:KEPT_BYTES]
            found[REJECTED].append({**row, "reason": str(error), "payload": payload})
            continue
        if isinstance(message, Listed):
            found[NEWS].append({"listed_until": min(message.listed_until, now_ms)})
        else:
            scored = _scored(message)
            found[ARTICLES].append(scored)
            found[NEWS].append({**scored, "key": key_of(message.provider, message.id)})
    return found


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
