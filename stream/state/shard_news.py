"""The news of one shard as one value in Spark's state store: every shard holds all of them.

Any symbol of an article's coin may live in any shard, and shards are few. The oldest go once there
are more than the ring of daily bars spans; a window that would need one of those counts as one
whose news are not known.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from model.news import ScoredArticles
from stream.packed import from_bytes, to_bytes

# At forty articles a day those of a hundred and twenty days, the ring of daily bars.
KEPT_ARTICLES: Final = 5_000
SCHEMA: Final = pa.schema(
    [
        ("key", pa.int64()),
        ("available_at", pa.int64()),
        ("coins", pa.string()),
        ("score", pa.float64()),
        ("weight", pa.float64()),
    ]
)
_META: Final = b"candlecast"


def key_of(provider: str, article_id: str) -> int:
    """An article's identity as a number of 64 bits."""
    digest = hashlib.blake2b(f"{provider}\0{article_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


@dataclass
class NewsOfShard:
    """Scored articles, each once, and how far they are known.

    listed_until: the newest heartbeat, epoch ms: what was available then has been taken in.
    known_from: what was available before may have been dropped. `silent_ms` is how long after the
    last heartbeat the news still count as known.
    """

    silent_ms: int
    articles: pa.Table
    listed_until: int = 0
    known_from: int = 0

    @classmethod
    def empty(cls, silent_ms: int) -> "NewsOfShard":
        """No article and no heartbeat yet."""
        return cls(silent_ms, SCHEMA.empty_table())

    def add(self, articles: pa.Table, listed_until: int) -> None:
        """Take articles in, of `SCHEMA`; of several with one key the first available counts."""
        both = pa.concat_tables([self.articles, articles]).sort_by("available_at")
        _, first = np.unique(both["key"].to_numpy(), return_index=True)
        both = both.take(pa.array(np.sort(first)))
        dropped = len(both) - KEPT_ARTICLES
        if dropped > 0:
            self.known_from = max(self.known_from, both["available_at"][dropped - 1].as_py() + 1)
            both = both.slice(dropped)
        self.articles = both.combine_chunks()
        self.listed_until = max(self.listed_until, listed_until)

    def known(self, since: NDArray[np.int64], until: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether all that became available from `since` to `until` (epoch ms) can be here."""
        return (since >= self.known_from) & (until <= self.listed_until + self.silent_ms)

    def between(self, since: int, until: int) -> ScoredArticles:
        """What became available from `since` on and before `until`."""
        at = self.articles["available_at"]
        chosen = self.articles.filter(pc.and_(pc.greater_equal(at, since), pc.less(at, until)))
        columns = (chosen[name].to_pylist() for name in SCHEMA.names[1:])
        return ScoredArticles.of(
            (at, tuple(filter(None, coins.split(","))), score, weight)
            for at, coins, score, weight in zip(*columns, strict=True)
        )

    def to_bytes(self) -> bytes:
        """The articles, and how far they are known."""
        known = {"listed_until": self.listed_until, "known_from": self.known_from}
        return to_bytes(self.articles.replace_schema_metadata({_META: json.dumps(known)}))

    @classmethod
    def from_bytes(cls, state: bytes, silent_ms: int) -> "NewsOfShard":
        """Read what `to_bytes` wrote."""
        articles = from_bytes(state)
        known = json.loads(articles.schema.metadata[_META])
        return cls(silent_ms, articles.replace_schema_metadata(None), **known)
