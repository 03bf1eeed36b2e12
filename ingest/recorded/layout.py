"""Which column of a file holds what: by its header, or by the forms that sites hand out without."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from conf.symbol import coins_of
from ingest.bar import OPTIONAL

PRICES: Final = ("open", "high", "low", "close")
REQUIRED: Final = ("time", *PRICES, "volume")
# What columns hold that are no numbers, or whose numbers have no decimals.
WORDS: Final = ("time", "clock", "symbol", "interval")
# Names of a column without case, blanks and punctuation, the preferred first. Of several times the
# one that says that it opens the bar, then numbers before texts.
NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "time": (
        *("opentime", "timeopen", "starttime", "startat", "timeperiodstart"),
        *("unix", "unixtime", "unixtimestamp", "timestamp", "time", "epoch", "t"),
        *("datetime", "date", "gmttime", "utctime", "start"),
    ),
    "open": ("open", "openprice", "o"),
    "high": ("high", "highprice", "h"),
    "low": ("low", "lowprice", "l"),
    "close": ("close", "closeprice", "closelast", "price", "c"),
    "volume": ("volumefrom", "basevolume", "volumebase", "volume", "vol", "v"),
    "quote_volume": (
        *("volumeto", "quotevolume", "quoteassetvolume", "volumequote", "volumecurrency"),
        "turnover",
    ),
    "trades": ("trades", "numberoftrades", "tradecount", "count"),
    "taker_base_volume": (
        *("takerbasevolume", "takerbuybaseassetvolume", "takerbuybasevolume"),
        *("takerbuybase", "takerbuyvolume"),
    ),
    "taker_quote_volume": (
        *("takerquotevolume", "takerbuyquoteassetvolume", "takerbuyquotevolume"),
        "takerbuyquote",
    ),
    "symbol": ("symbol", "ticker", "pair", "asset", "market"),
    "interval": ("interval", "timeframe", "per"),
}
# By the number of cells in a row without a header: Kraken's OHLCVT dumps, Binance's klines.
HEADERLESS: Final = {
    6: REQUIRED,
    7: REQUIRED,
    12: (*REQUIRED, "close_time", *OPTIONAL),
}
DELIMITERS: Final = (",", ";", "\t", "|")
# Lines before the rows: addresses, comments, several lines of names.
HEAD_LINES: Final = 30
_NUMBER: Final = re.compile(r"\d+(\.\d*)?([eE][+-]?\d+)?")
_TIME: Final = re.compile(r"\d{9,19}(\.\d*)?|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}.*|(19|20)\d{6} \d{4,6}")
# 1.234,5: a comma before the decimals. 1,234 could be either; not 0,123.
_COMMA: Final = re.compile(r"(\d{1,3}(\.\d{3})+|\d+),\d*")
_EITHER: Final = re.compile(r"[1-9]\d{0,2},\d{3}")
_CLOCK: Final = re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[AaPp][Mm])?|\d{4}|\d{6}")


@dataclass(frozen=True)
class Layout:
    """Where a text's rows begin and which of their cells hold what.

    first_line: the first row's, counted from 1. cells: how many a row has. at: the cell by what it
    holds: `REQUIRED`, `OPTIONAL`, `symbol`, `interval`, and `clock`, the time of day beside a
    date. comma: whether it stands before the decimals, where other countries have a point.
    """

    first_line: int
    delimiter: str
    cells: int
    at: Mapping[str, int]
    comma: bool = False


class NoLayout(Exception):
    """The text is no table of bars; the message says at which line, what was expected and found."""


def text_layout(head: str, symbol: str) -> Layout:
    """The layout of a text by its first lines; raises NoLayout."""
    lines = re.split(r"\r\n|\n|\r", head)
    for number, line in enumerate(lines[:HEAD_LINES], 1):
        for delimiter in DELIMITERS:
            cells = _cells(line, delimiter)
            if _is_row(cells):
                return _without_header(number, delimiter, cells)
            if _is_header(cells):
                return _with_header(lines, number, delimiter, symbol)
    first = next((line.strip() for line in lines if line.strip()), "")
    raise NoLayout(
        "line 1: expected a header such as time,open,high,low,close,volume, or rows of klines "
        f"without one; found {first[:60]!r}"
    )


def columns_at(names: Sequence[str], symbol: str) -> dict[str, int]:
    """Which column holds what, by their names; `symbol` tells base from quote volume.

    Raises NoLayout where two columns of such a name could be meant.
    """
    plain = [_plain(name) for name in names]
    at = _volumes(plain, _named(plain), symbol)
    for column in at.values():
        if plain[column] and (n := plain.count(plain[column])) > 1:
            raise NoLayout(f"column {names[column]}: expected one of that name, found {n}")
    return at


def missing(at: Mapping[str, int]) -> list[str]:
    """What a bar needs and no column holds."""
    return [what for what in REQUIRED if what not in at]


def _named(plain: Sequence[str]) -> dict[str, int]:
    at = {}
    for what, known in NAMES.items():
        if found := [name for name in known if name in plain]:
            at[what] = plain.index(found[0])
    # Where pandas writes its index it gives it no name.
    for unnamed in ("", "indexlevel0", "unnamed0", "index"):
        if "time" not in at and unnamed in plain:
            at["time"] = plain.index(unnamed)
    return at


def _volumes(plain: Sequence[str], at: dict[str, int], symbol: str) -> dict[str, int]:
    """Give `Volume BTC`, `Volume USDT` their meaning: by the symbol, or else base first."""
    base, quote = (f"volume{_plain(coin)}" for coin in coins_of(symbol))
    known = at.values()
    named = [i for i, n in enumerate(plain) if n.startswith("volume") and i not in known]
    if len(named) == 2 and quote != base and (plain[named[0]] == quote or plain[named[1]] == base):
        named.reverse()
    whats = (
        ("quote_volume",) if [plain[i] for i in named] == [quote] else ("volume", "quote_volume")
    )
    return {**dict(zip(whats, named, strict=False)), **at}


def _with_header(lines: Sequence[str], number: int, delimiter: str, symbol: str) -> Layout:
    names = _cells(lines[number - 1], delimiter)
    at = columns_at(names, symbol)
    if "time" not in at:  # yfinance: two more lines of names, the last one names the index
        for more, line in enumerate(lines[number : number + 3], number + 1):
            if _plain((_cells(line, delimiter) or [""])[0]) in NAMES["time"]:
                number, at["time"] = more, 0
                break
    if lacking := missing(at):
        raise NoLayout(f"line {number}: lacks {', '.join(lacking)}; found {', '.join(names)[:120]}")
    row = next((_cells(line, delimiter) for line in lines[number:] if line.strip()), None)
    if row is None:
        raise NoLayout(f"line {number + 1}: expected a row, found the end")
    plain = [_plain(name) for name in names]
    beside = dict(zip(plain, row, strict=False))
    if "date" in beside and _CLOCK.fullmatch(beside.get("time", "")):
        at |= {"time": plain.index("date"), "clock": plain.index("time")}
    # A delimiter behind the last cell of each row is one cell more than there are names.
    cells = len(names) + (len(row) == len(names) + 1 and not row[-1])
    # The last line of a head may be cut off.
    rows = [_cells(line, delimiter) for line in lines[number:-1] or lines[number:]]
    prices = [row[at[what]] for row in rows for what in PRICES if at[what] < len(row)]
    return Layout(number + 1, delimiter, cells, at, _has_comma(prices, number + 1))


def _has_comma(prices: Sequence[str], line: int) -> bool:
    """Whether a comma stands before the decimals of prices; raises NoLayout where it could as well
    stand between thousands."""
    commas = [price for price in prices if _COMMA.fullmatch(price)]
    if not commas or any("." in price and price not in commas for price in prices):
        return False
    if not all(_EITHER.fullmatch(price) for price in commas):
        return True
    if any(price.count(",") > 1 for price in prices):
        return False
    raise NoLayout(
        f"line {line}: {commas[0]} has a comma before the decimals or between thousands; "
        "expected prices such as 1234.5"
    )


def _without_header(number: int, delimiter: str, row: Sequence[str]) -> Layout:
    if len(row) not in HEADERLESS:
        counts = ", ".join(map(str, HEADERLESS))
        raise NoLayout(
            f"line {number}: expected a header, or {counts} cells in a row; found {len(row)} cells"
        )
    at = {what: cell for cell, what in enumerate(HEADERLESS[len(row)]) if what != "close_time"}
    return Layout(number, delimiter, len(row), at)


def _is_row(cells: Sequence[str]) -> bool:
    if len(cells) < 5 or not _TIME.fullmatch(cells[0]):
        return False
    return all(_NUMBER.fullmatch(cell) for cell in cells[1:5])


def _is_header(cells: Sequence[str]) -> bool:
    found = _named([_plain(cell) for cell in cells if cell])
    return len(found) >= 2 and not found.keys().isdisjoint(PRICES)


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())
