"""An answer of a source, row by row: one that is no bar leaves the others as they are."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from conf.errors import SourceUnavailable
from ingest.bar import OPTIONAL, Bar

UNREADABLE_ROW: Final = "the row has no readable open time"
VALUES: Final = 5  # open, high, low, close, base volume


class Span(NamedTuple):
    """Open times from `first_ms` to `last_ms` (epoch ms), both included."""

    first_ms: int
    last_ms: int


class Answer(list[Bar]):
    """The bars of an answer, ascending, those that break a rule among them.

    The answer speaks of `span` alone, None where it says nothing: what it holds no bar for inside,
    the source does not have; what lies outside was not answered. `unreadable` are the rows that no
    bar can be made of, as text.
    """

    def __init__(
        self, bars: Iterable[Bar] = (), span: Span | None = None, unreadable: Sequence[str] = ()
    ) -> None:
        super().__init__(bars)
        self.span = span
        self.unreadable = unreadable


def answer_of(
    rows: Sequence[Any], series: tuple[str, str], asked: Span, seen: tuple[str, int]
) -> Answer:
    """The answer that `rows` are for `asked`; each as `Source.rows` says, or anything else.

    `series` is symbol and timeframe, `seen` source and time (epoch ms) of the answer. A number that
    can't be read is NaN, which breaks a rule. Of two rows of one time the later one counts.
    Raises SourceUnavailable where no row tells its time: that says nothing about any bar.
    """
    found: dict[int, Bar] = {}
    said: list[int] = []
    unreadable: list[str] = []
    for row in rows:
        time, *values = row if isinstance(row, list | tuple) and row else [None]
        at = whole(time)
        if at is None:
            unreadable.append(repr(row))
        elif asked.first_ms <= at <= asked.last_ms:
            said.append(at)
            if values:
                found[at] = bar_of(series, at, values, seen)
    if unreadable and len(unreadable) == len(rows):
        raise SourceUnavailable(
            f"{seen[0]}: no row for {series[0]} can be read, such as {unreadable[0]:.100}"
        )
    span = Span(min(said), max(said)) if said else None
    return Answer([found[time] for time in sorted(found)], span, unreadable)


def bar_of(series: tuple[str, str], at: int, values: Sequence[Any], seen: tuple[str, int]) -> Bar:
    """The bar of a row behind its time: prices, base volume, and `OPTIONAL` as far as it goes.

    A number that can't be read is NaN; of the trades, which are counted, it is unknown.
    """
    open_, high, low, close, base = map(number, (*values, *[None] * VALUES)[:VALUES])
    optional = (*values[VALUES:], *[None] * len(OPTIONAL))[: len(OPTIONAL)]
    quote, trades, *takers = (None if value is None else number(value) for value in optional)
    return Bar(*series, at, open_, high, low, close, base, quote, *seen, whole(trades), *takers)


def number(value: object) -> float:
    """A number, also where it comes as text; NaN for anything else.

    >>> number("1.5"), number(None), number("1_000"), number(True)
    (1.5, nan, nan, nan)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        return math.nan if isinstance(value, str) and "_" in value else float(value)
    except (ValueError, OverflowError):
        return math.nan


def whole(value: object) -> int | None:
    """A number as a whole one; None where it is none, or far from any time.

    >>> whole("1514219880000"), whole(1514219880000.0), whole("soon"), whole(1e300)
    (1514219880000, 1514219880000, None, None)
    """
    read = number(value)
    return int(read) if abs(read) < 2**53 else None


def picked(rows: object, names: Sequence[str]) -> list[list[Any]]:
    """The values under `names` of each of `rows`, None where a row lacks one.

    Raises SourceUnavailable where there is no list of rows.
    """
    held = [row if isinstance(row, Mapping) else {} for row in listed(rows)]
    return [[row.get(name) for name in names] for row in held]


def listed(rows: object) -> list[Any]:
    """`rows`, if they are a list; raises SourceUnavailable."""
    if not isinstance(rows, list):
        raise SourceUnavailable(f"a success that holds {type(rows).__name__} and no list of rows")
    return rows
