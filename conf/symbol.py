"""What a symbol is: `BASE-QUOTE`, with `VENUE:` before and `:SETTLE` behind it."""

import unicodedata
from functools import lru_cache
from typing import Final

# A symbol stands in file names, metric labels, URLs, spreadsheets and chat messages.
PART_CHARACTERS: Final = 32
SYMBOL_BYTES: Final = 128
SYMBOL_SIGNS: Final = "._$"
SYMBOL_FORM: Final = "symbol must look like BASE-QUOTE"
SYMBOL_LETTERS: Final = "symbol must be of letters and digits, with . _ $ between them"
SYMBOL_LENGTH: Final = f"symbol must have at most {PART_CHARACTERS} characters a part"


def symbol_problem(text: str) -> str | None:
    """Why a text is no symbol, or None: `BASE-QUOTE`, with `VENUE:` before and `:SETTLE` behind it.

    A part is of letters and digits of any script, and begins with one or with `$`.

    >>> [symbol_problem(text) for text in ("stETH-USD", "KRAKEN:BTC-USDT:USDT", "币安人生-USDT")]
    [None, None, None]
    >>> symbol_problem("=1+1-USD") == SYMBOL_LETTERS, symbol_problem("BTC-USD-1") == SYMBOL_FORM
    (True, True)
    """
    return SYMBOL_LENGTH if len(text) > SYMBOL_BYTES else _symbol_problem(text)


@lru_cache(maxsize=10_000)
def _symbol_problem(text: str) -> str | None:
    sides = [side.split(":") for side in text.split("-")]
    parts = [part for side in sides for part in side]
    if len(sides) != 2 or max(map(len, sides)) > 2 or not all(parts):
        return SYMBOL_FORM
    for part in parts:
        kinds = ["." if sign in SYMBOL_SIGNS else unicodedata.category(sign)[0] for sign in part]
        if not set(kinds) <= set("LMN.") or not (kinds[0] in "LN" or part[0] == "$"):
            return SYMBOL_LETTERS
    if max(map(len, parts)) > PART_CHARACTERS or len(text.encode()) > SYMBOL_BYTES:
        return SYMBOL_LENGTH
    return None


def market_of(symbol: str) -> str:
    """A symbol without its venue: what the source is asked for.

    >>> market_of("KRAKEN:BTC-USDT:USDT")
    'BTC-USDT:USDT'
    """
    base, _, quote = symbol.partition("-")
    return f"{base.rpartition(':')[2]}-{quote}"


def coins_of(symbol: str) -> tuple[str, str]:
    """Base and quote of a symbol, without venue and settlement.

    >>> coins_of("KRAKEN:BTC-USDT:USDC")
    ('BTC', 'USDT')
    """
    base, _, quote = market_of(symbol).partition("-")
    return base, quote.partition(":")[0]
