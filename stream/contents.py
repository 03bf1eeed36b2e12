"""What reaches the stateful operator: rows (shard, packed, content), each with many of a kind."""

from collections.abc import Iterable
from typing import Final

import pyarrow as pa

from ingest.bar import MESSAGE_BYTES
from stream.packed import PACKED

# What such a row holds: checked bars, copies of leaders' bars, wake-ups, articles for the state,
# articles for the table, or messages of either topic that are rejected.
BARS: Final = "bars"
LEADERS: Final = "leaders"
WAKE_UPS: Final = "wake_ups"
NEWS: Final = "news"
ARTICLES: Final = "articles"
REJECTED: Final = "rejected"

CONTENTS: Final = pa.schema(
    [("shard", pa.int32()), (PACKED, pa.binary()), ("content", pa.string())]
)
# The table of REJECTED.
REJECTED_SCHEMA: Final = pa.schema(
    [
        ("reason", pa.string()),
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("payload", pa.binary()),
    ]
)
# A rejected message is kept for a person to look at, not to be replayed: its beginning is enough.
KEPT_BYTES: Final = MESSAGE_BYTES


def contents(rows: Iterable[tuple[int, bytes, str]]) -> pa.RecordBatch:
    """An Arrow batch of `CONTENTS`, also of no rows."""
    each = [dict(zip(CONTENTS.names, row, strict=True)) for row in rows]
    return pa.RecordBatch.from_pylist(each, CONTENTS)
