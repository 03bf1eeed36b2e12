"""Where each message of a topic went: into the table `bars`, or rejected with a reason."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import duckdb

from conf.errors import MalformedBar
from conf.sections import Ingest
from ingest.bar import Bar
from tests.streams import read_topic

TIMES: Final = ("open_time", "fetched_at")
COLUMNS: Final = Bar.__slots__
Place = tuple[int, int]  # partition, offset


@dataclass
class Account:
    """The balance of a topic.

    rows: of the table `bars`. rejected: messages on the topic of the rejected, each counted once.
    unexplained: rejected ones without a reason. lost: messages that are neither; invented: rows
    or rejections that belong to no message. read_otherwise: rows with other values than Python
    reads in their message (a key that is there twice, say). stricter, laxer: what the stream
    rejects and the producer's rules do not, and the other way round.
    """

    messages: int = 0
    rows: int = 0
    rejected: int = 0
    unexplained: int = 0
    lost: int = 0
    invented: int = 0
    read_otherwise: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    stricter: Counter[str] = field(default_factory=Counter)
    laxer: Counter[str] = field(default_factory=Counter)

    @property
    def good(self) -> bool:
        """Whether every message is in exactly one place, with a reason where it was rejected."""
        return self.messages > 0 and not (self.unexplained or self.lost or self.invented)


def account(
    sent: Iterable[tuple[Place, bytes | None]],
    rejections: dict[Place, str],
    rows: Counter[tuple[Any, ...]],
    now_ms: int,
) -> Account:
    """Compare what was sent with what was written.

    A message that was not rejected must be a row with its very values: one row a message, also
    where the same bar was sent before.
    """
    found = Account(rows=rows.total(), rejected=len(rejections))
    left, reasons = rows.copy(), dict(rejections)
    unmatched = []
    for place, message in sent:
        found.messages += 1
        expected = rejection(message, now_ms)
        if place in reasons:
            reason = kind_of(reasons.pop(place))
            found.unexplained += not reason
            found.reasons[reason] += 1
            found.stricter[reason] += expected is None
            continue
        if expected is not None:
            found.laxer[expected] += 1
        row = row_of(message)
        if left[row] > 0:
            left[row] -= 1
        else:
            unmatched.append(message)
    rows_left = left.total()
    found.read_otherwise = min(len(unmatched), rows_left)
    found.lost = len(unmatched) - found.read_otherwise
    found.invented = rows_left - found.read_otherwise + len(reasons)
    return found


def rejection(message: bytes | None, now_ms: int) -> str | None:
    """Why the producer's rules reject a message; None where they do not."""
    try:
        reason = Bar.from_json(message or b"").rejection_reason(now_ms, Ingest().earliest_ms)
    except MalformedBar as error:
        return kind_of(str(error))
    return None if reason is None else kind_of(reason)


def row_of(message: bytes | None) -> tuple[Any, ...]:
    """The row of `bars` that a message should be; empty where Python reads no bar in it."""
    try:
        bar = Bar.from_json(message or b"")
    except MalformedBar:
        return ()
    return tuple(getattr(bar, name) for name in COLUMNS)


def kind_of(reason: str) -> str:
    """A reason without what it quotes.

    >>> kind_of("v must be 1, found 7")
    'v must be 1'
    """
    return reason.split(", found")[0].split(":")[0]


def rows_of(warehouse_dir: str) -> Counter[tuple[Any, ...]]:
    """The rows of the table `bars`, how often each; times in epoch ms."""
    files = Path(warehouse_dir) / "bars" / "batch=*" / "*.parquet"
    columns = [f"epoch_ms({name})" if name in TIMES else name for name in COLUMNS]
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT {', '.join(columns)} FROM '{files}'")
        return Counter(iter(found.fetchone, None))


def rejections(bootstrap_servers: str, topic: str) -> dict[Place, str]:
    """The reason of each rejected message, by its place; `bars.rejected` may hold it twice."""
    records = (json.loads(message) for message in read_topic(bootstrap_servers, topic))
    return {(record["partition"], record["offset"]): record["reason"] for record in records}
