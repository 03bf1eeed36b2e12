"""Articles from a file: CSV (plain, gz, zip) with `time,title,source,subject`.

`time` is in unix seconds UTC. Nobody has measured when such an article became available, so each
counts from a delay after its publication on.
"""

import csv
import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from conf.errors import ConfigurationError
from conf.events import event
from ingest.article import Article
from ingest.recorded.content import name_of, readable, unpacked

log = logging.getLogger(__name__)

COLUMNS: Final = ("time", "title", "source", "subject")
_SECONDS: Final = re.compile(r"\d{1,11}", re.ASCII)
# The subjects that name a coin; the others are about the market.
_COINS: Final = {"bitcoin": ("BTC",), "ethereum": ("ETH",)}


def read_headlines(file: Path, delay_ms: int) -> Iterator[Article]:
    """Yield the file's articles in the file's order, each without a body.

    A row without a time or with cells lacking is logged and left out. Raises ConfigurationError
    where the file is missing, damaged or lacks a column.
    """
    if not file.is_file():
        raise ConfigurationError(f"no file {file}: name one with the columns {','.join(COLUMNS)}")
    with readable(file), unpacked(file) as packed:
        rows = csv.DictReader(io.TextIOWrapper(packed, "utf-8-sig", "replace", newline=""))
        if missing := set(COLUMNS) - set(rows.fieldnames or ()):
            raise ConfigurationError(
                f"{file} lacks {', '.join(sorted(missing))}: expected the columns "
                f"{','.join(COLUMNS)}, found {','.join(rows.fieldnames or ())[:120]}"
            )
        for number, row in enumerate(rows):
            if None in row.values() or not _SECONDS.fullmatch(row["time"]):
                reason = f"expected {','.join(COLUMNS)}, time in unix seconds"
                where = {"file": name_of(file), "line": rows.line_num}
                event(log, "headline_rejected", level=logging.WARNING, **where, reason=reason)
                continue
            published_at = int(row["time"]) * 1000
            yield Article(
                provider=f"recorded:{name_of(file)}",
                id=str(number),
                published_at=published_at,
                title=row["title"],
                body="",
                source=row["source"],
                categories=_COINS.get(row["subject"], ()),
                tags=(row["subject"],),
                url="",
                lang="EN",
                sentiment=None,
                fetched_at=published_at + delay_ms,
                available_at=published_at + delay_ms,
            )
