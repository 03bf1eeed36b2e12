"""How a price is shown to people: by its significant digits, whatever its size."""

import math
from typing import Final

DIGITS: Final = 6
_TINY: Final = 1e-12


def shown_length(seconds: float) -> str:
    """A length of time in the largest unit that divides it.

    >>> [shown_length(s) for s in (30, 900, 3600, 5400, 172_800)]
    ['30 s', '15 min', '1 h', '90 min', '2 d']
    """
    units = ((86_400, "d"), (3_600, "h"), (60, "min"))
    one, unit = next((u for u in units if seconds >= u[0] and seconds % u[0] == 0), (1, "s"))
    return f"{seconds / one:g} {unit}"


def shown_price(price: float | None) -> str:
    """A price with DIGITS significant digits and without an exponent; a dash where there is none.

    >>> [shown_price(p) for p in (15123.456, 0.99987654, 0.00002345678, 1234567.8, 100)]
    ['15,123.5', '0.999877', '0.0000234568', '1,234,568', '100.000']
    >>> shown_price(float("nan")), shown_price(0.0), shown_price(4.294e-40)
    ('-', '0', '4.294e-40')
    """
    if price is None or not math.isfinite(price):
        return "-"
    size = abs(price)
    if 0 < size < _TINY:
        return f"{price:.{DIGITS}g}"
    decimals = max(0, DIGITS - 1 - math.floor(math.log10(size))) if size else 0
    return f"{price:,.{decimals}f}"
