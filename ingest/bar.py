"""A bar (candle): its fields, its rules and its JSON on the topic `bars`.

The rules are written once, with operators that floats and NumPy arrays share, so that the producer
and the stream can't disagree about what a good bar is.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

import orjson

from conf.errors import MalformedBar
from conf.events import event
from conf.symbol import symbol_problem
from conf.timeframes import TIMEFRAME_MS

log = logging.getLogger(__name__)

# What is written; older ones are read for ever. Version 1 lacks the fields of `ADDED_IN_2`.
BAR_VERSION: Final = 2
# A message that is longer is no bar.
MESSAGE_BYTES: Final = 65_536
# Clocks of a producer and of a stream on two machines may differ by this much.
CLOCK_SKEW_MS: Final = 5_000

# The least and the largest price and amount: their ratios, squares and sums are finite.
PRICES: Final = (1e-30, 1e30)
AMOUNTS: Final = (0.0, 1e30)

Rule = tuple[str, Callable[[Any], Any]]


def _within(name: str, bounds: tuple[float, float]) -> Rule:
    least, most = bounds

    def holds(bar: Any) -> Any:
        value = getattr(bar, name)
        return (value >= least) & (value <= most)

    return f"{name} must be a number from {least:g} to {most:g}", holds


# Each takes anything with a bar's fields and `bar_ms`, `now_ms` and `earliest_ms`: one bar in the
# producer, NumPy arrays of many in the stream. NaN passes no comparison, so that bounds reject it.
RULES: Final[tuple[Rule, ...]] = (
    *(_within(name, PRICES) for name in ("open", "high", "low", "close")),
    ("low must not exceed open", lambda b: b.low <= b.open),
    ("low must not exceed close", lambda b: b.low <= b.close),
    ("open must not exceed high", lambda b: b.open <= b.high),
    ("close must not exceed high", lambda b: b.close <= b.high),
    _within("base_volume", AMOUNTS),
    (
        "open_time must lie on the interval's grid",
        lambda b: (b.open_time >= 0) & (b.open_time % b.bar_ms == 0),
    ),
    ("open_time must not lie before ingest.earliest", lambda b: b.open_time >= b.earliest_ms),
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
# What a source may leave out: null in a message and in the warehouse, NaN in arrays.
ADDED_IN_2: Final = ("trades", "taker_base_volume", "taker_quote_volume")
OPTIONAL: Final = ("quote_volume", *ADDED_IN_2)

# By field; only asked where its value is known.
OPTIONAL_RULES: Final[dict[str, Rule]] = {n: _within(n, AMOUNTS) for n in OPTIONAL}


@dataclass(frozen=True, slots=True)
class Bar:
    """One closed bar of one symbol.

    `open_time` and `fetched_at` are epoch milliseconds UTC; `open_time` is the bar's start.
    The volumes but `base_volume`, and `trades`, their number, are None where the source does not
    tell them. The takers' volumes are what those bought who took the price that was there.

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
    trades: int | None = None
    taker_base_volume: float | None = None
    taker_quote_volume: float | None = None

    @property
    def bar_ms(self) -> int:
        """Length of the bar in milliseconds."""
        return TIMEFRAME_MS[self.interval]

    @property
    def close_time(self) -> int:
        """End of the bar, exclusive: the next bar's `open_time`."""
        return self.open_time + self.bar_ms

    def rejection_reason(self, now_ms: int, earliest_ms: int = 0) -> str | None:
        """Name the first rule that this bar breaks at `now_ms`, or None.

        Epoch ms; no bar may open before `earliest_ms` (the setting `ingest.earliest`).
        """
        if (problem := series_problem(self.symbol, self.interval)) is not None:
            return problem
        times = {"bar_ms": self.bar_ms, "now_ms": now_ms, "earliest_ms": earliest_ms}
        seen = SimpleNamespace(**self.fields(), **times)
        known = [name for name in OPTIONAL if getattr(self, name) is not None]
        rules = (*RULES, *(OPTIONAL_RULES[name] for name in known))
        return next((reason for reason, holds in rules if not holds(seen)), None)

    def to_json(self) -> bytes:
        """The bytes that go to the topic; ValueError where a number is not finite."""
        numbers = [self.open, self.high, self.low, self.close, self.base_volume]
        numbers += [getattr(self, name) or 0.0 for name in OPTIONAL]
        if not all(map(math.isfinite, numbers)):
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
        fields = _fields_in(message)
        return cls(*[_as_held(fields.get(name), kinds) for name, kinds in FIELD_TYPES.items()])


def why_not_read(message: bytes | None) -> str | None:
    """What keeps a message from being read as a bar of a series, or None."""
    try:
        fields = _fields_in(message)
    except MalformedBar as error:
        return str(error)
    return series_problem(fields["symbol"], fields["interval"])


def series_problem(symbol: str, interval: str) -> str | None:
    """Why there is no such series, or None."""
    if interval not in TIMEFRAME_MS:
        return f"interval must be one of {', '.join(TIMEFRAME_MS)}"
    return symbol_problem(symbol)


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
    "trades": (int, type(None)),
    **dict.fromkeys(("taker_base_volume", "taker_quote_volume"), (*_NUMBERS, type(None))),
}
# The same with the version, in the order of a message.
MESSAGE_TYPES: Final[dict[str, tuple[type, ...]]] = {"v": (int,), **FIELD_TYPES}
# The fields of a message by its version.
VERSIONS: Final = {
    1: [name for name in FIELD_TYPES if name not in ADDED_IN_2],
    2: list(FIELD_TYPES),
}
NOT_JSON: Final = "not valid JSON"
INT64: Final = range(-(2**63), 2**63)
_MISSING: Final = object()


def _fields_in(message: bytes | None) -> dict[str, Any]:
    """The fields of a message, each of its type; raises MalformedBar with the reason."""
    if message is None:
        raise MalformedBar("the message is empty")
    if len(message) > MESSAGE_BYTES:
        raise MalformedBar(f"the message is longer than {MESSAGE_BYTES} bytes")
    try:
        found = orjson.loads(message)
    except orjson.JSONDecodeError:
        raise MalformedBar(NOT_JSON) from None
    if not isinstance(found, dict) or not found.keys() & MESSAGE_TYPES.keys():
        raise MalformedBar("not a JSON object with a bar's fields")
    version = _held(found, "v")
    if version not in VERSIONS:
        raise MalformedBar(f"v must be {' or '.join(map(str, VERSIONS))}, found {version}")
    return {name: _held(found, name) for name in VERSIONS[version]}


def _held(message: dict[str, Any], name: str) -> Any:
    """A field of its type; raises MalformedBar."""
    kinds, held = MESSAGE_TYPES[name], message.get(name, _MISSING)
    is_whole = float not in kinds and type(held) is int
    if type(held) not in kinds or (is_whole and held not in INT64):
        kind = "string" if str in kinds else "number"
        raise MalformedBar(f"{name} is missing or not a {kind}")
    return held


def _as_held(value: Any, kinds: tuple[type, ...]) -> Any:
    return float(value) if float in kinds and value is not None else value
