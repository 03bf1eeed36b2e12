"""A bar (candle): its fields, its rules and its JSON on the topic `bars`.

The rules are written once, with operators that floats and NumPy arrays share, so that the producer
and the stream can't disagree about what a good bar is.
"""

import json
import logging
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

import orjson

from conf.errors import MalformedBar
from conf.events import event
from conf.timeframes import TIMEFRAME_MS

log = logging.getLogger(__name__)

BAR_VERSION: Final = 1
# BASE-QUOTE in any script; no white space, control character, slash or second hyphen, so that a
# symbol can stand in a file name, a metric label and a URL.
SYMBOL_PATTERN: Final = r"^[^\x00-\x20\x7f/\\-]{1,32}-[^\x00-\x20\x7f/\\-]{1,32}(?!\n)$"
# Clocks of a producer and of a stream on two machines may differ by this much.
CLOCK_SKEW_MS: Final = 5_000

Rule = tuple[str, Callable[[Any], Any]]

# Each takes anything with a bar's fields and `bar_ms` and `now_ms`: one bar in the producer,
# NumPy arrays of many in the stream. NaN passes no comparison, so `0 < x < inf` rejects it.
RULES: Final[tuple[Rule, ...]] = (
    ("open must be positive and finite", lambda b: (b.open > 0) & (b.open < math.inf)),
    ("high must be positive and finite", lambda b: (b.high > 0) & (b.high < math.inf)),
    ("low must be positive and finite", lambda b: (b.low > 0) & (b.low < math.inf)),
    ("close must be positive and finite", lambda b: (b.close > 0) & (b.close < math.inf)),
    ("low must not exceed open", lambda b: b.low <= b.open),
    ("low must not exceed close", lambda b: b.low <= b.close),
    ("open must not exceed high", lambda b: b.open <= b.high),
    ("close must not exceed high", lambda b: b.close <= b.high),
    (
        "base_volume must be finite and not negative",
        lambda b: (b.base_volume >= 0) & (b.base_volume < math.inf),
    ),
    (
        "open_time must lie on the interval's grid",
        lambda b: (b.open_time >= 0) & (b.open_time % b.bar_ms == 0),
    ),
    (
        "the bar must be closed, not in the future",
        # in this order no sum can overflow, whatever open_time says
        lambda b: b.open_time <= b.now_ms + CLOCK_SKEW_MS - b.bar_ms,
    ),
    (
        "fetched_at must not be negative, nor in the future",
        lambda b: (b.fetched_at >= 0) & (b.fetched_at <= b.now_ms + CLOCK_SKEW_MS),
    ),
)
# Only asked of a quote volume that is known.
QUOTE_VOLUME_RULE: Final[Rule] = (
    "quote_volume must be finite and not negative",
    lambda b: (b.quote_volume >= 0) & (b.quote_volume < math.inf),
)


@dataclass(frozen=True, slots=True)
class Bar:
    """One closed bar of one symbol.

    `open_time` and `fetched_at` are epoch milliseconds UTC; `open_time` is the bar's start.
    `quote_volume` is None where the source does not tell it.

    >>> bar = Bar("BTC-USD", "1m", 1514219880000, 10.0, 12.0, 9.0, 11.0, 1.5, 16.0, "example", 0)
    >>> bar.close_time - bar.open_time
    60000
    >>> Bar.from_json(bar.to_json()) == bar
    True
    """

    symbol: str
    interval: str
    open_time: int
    open: float
    high: float
    low: float
    close: float
    base_volume: float
    quote_volume: float | None
    source: str
    fetched_at: int

    @property
    def bar_ms(self) -> int:
        """Length of the bar in milliseconds."""
        return TIMEFRAME_MS[self.interval]

    @property
    def close_time(self) -> int:
        """End of the bar, exclusive: the next bar's `open_time`."""
        return self.open_time + self.bar_ms

    def rejection_reason(self, now_ms: int) -> str | None:
        """Name the first rule that this bar breaks at `now_ms` (epoch ms), or None."""
        if self.interval not in TIMEFRAME_MS:
            return f"interval must be one of {', '.join(TIMEFRAME_MS)}"
        if not re.match(SYMBOL_PATTERN, self.symbol):
            return "symbol must look like BASE-QUOTE"
        seen = SimpleNamespace(**self.fields(), bar_ms=self.bar_ms, now_ms=now_ms)
        rules = RULES if self.quote_volume is None else (*RULES, QUOTE_VOLUME_RULE)
        return next((reason for reason, holds in rules if not holds(seen)), None)

    def to_json(self) -> bytes:
        """The bytes that go to the topic; ValueError where a number is not finite."""
        total = self.open + self.high + self.low + self.close + self.base_volume
        if not math.isfinite(total + (self.quote_volume or 0.0)):
            raise ValueError(f"a number of {self} is not finite")
        return orjson.dumps({"v": BAR_VERSION, **self.fields()})

    def fields(self) -> dict[str, Any]:
        """The fields by name, in their order in a message."""
        return {name: getattr(self, name) for name in FIELD_TYPES}

    @classmethod
    def from_json(cls, message: bytes) -> "Bar":
        """Read what `to_json` wrote.

        Raises MalformedBar for anything else; whether its values make sense is another question.
        """
        try:
            fields = json.loads(message, parse_constant=_refuse_constant)
            if _typed(fields["v"], (int,)) != BAR_VERSION:
                raise MalformedBar(f"v must be {BAR_VERSION}")
            return cls(*[_typed(fields[name], kind) for name, kind in FIELD_TYPES.items()])
        except _NO_BAR as error:
            raise MalformedBar(f"not a bar: {type(error).__name__}: {error}") from error


def log_rejected(bar: Bar, reason: str) -> None:
    """Say in the log that `bar` breaks a rule."""
    about: dict[str, Any] = {"symbol": bar.symbol, "interval": bar.interval}
    about |= {"open_time": bar.open_time, "reason": reason}
    event(log, "bar_rejected", level=logging.WARNING, **about)


_NUMBERS: Final = (float, int)
# What stands in each field of a message, in the order of a Bar's fields.
FIELD_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "symbol": (str,),
    "interval": (str,),
    "open_time": (int,),
    **dict.fromkeys(("open", "high", "low", "close", "base_volume"), _NUMBERS),
    "quote_volume": (*_NUMBERS, type(None)),
    "source": (str,),
    "fetched_at": (int,),
}
# Nested too deep, and a whole number too large for a price, are what others may send as well.
_NO_BAR: Final = (ValueError, KeyError, TypeError, RecursionError, OverflowError)


def _typed(value: Any, kinds: tuple[type, ...]) -> Any:
    if type(value) not in kinds:
        raise TypeError(f"{value!r:.40} is not a {kinds[0].__name__}")
    return float(value) if float in kinds and value is not None else value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")
