"""Articles from a file: CSV.gz with `time,title,source,subject`, `time` in unix seconds UTC.

Nobody has measured when such an article became available, so each counts from a delay after its
publication on.
"""

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from conf.errors import ConfigurationError
from ingest.article import Article

COLUMNS: Final = ("time", "title", "source", "subject")
# The subjects that name a coin; the others are about the market.
_COINS: Final = {"bitcoin": ("BTC",), "ethereum": ("ETH",)}


def read_headlines(file: Path, delay_ms: int) -> Iterator[Article]:
    """Yield the file's articles in the file's order, each without a body.

    Raises ConfigurationError where the file is missing or lacks a column.
    """
    if not file.is_file():
        raise ConfigurationError(f"no file {file}: name one with the columns {','.join(COLUMNS)}")
    with gzip.open(file, "rt", newline="") as lines:
        rows = csv.DictReader(lines)
        if missing := set(COLUMNS) - set(rows.fieldnames or ()):
            raise ConfigurationError(f"{file} lacks {', '.join(sorted(missing))}")
        for number, row in enumerate(rows):
            published_at = int(row["time"]) * 1000
            yield Article(
                provider=f"recorded:{file.name}",
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
