"""From a record of a topic to a row, or to the reason why it is none.

Anyone who may write to a topic may write anything: what comes out of here has the columns of its
table, each of its type, finite and within bounds, whatever came in.
"""

import math
import sys
from typing import Any, Final

import orjson
import pyarrow as pa

from conf.errors import MalformedRecord
from conf.symbol import symbol_problem
from conf.timeframes import TIMEFRAME_MS
from ingest.bar import CLOCK_SKEW_MS
from store.schema import NUMBER, PREDICTIONS, TEXT

Row = dict[str, Any]

# A prediction has some 400 bytes, a rejection a few kB of what was rejected.
MAX_BYTES: Final = 65_536
MAX_TEXT: Final = 200


def prediction(value: bytes | None, now_ms: int) -> Row:
    """The row of `PREDICTIONS` that a record holds, times in epoch ms; `now_ms` is the clock's.

    Raises MalformedRecord with the reason, one of a small number of texts.
    """
    found = _object(value)
    row = {name: _typed(found, name, kind) for name, kind in _KINDS.items()}
    wrong = (text for text, holds in _RULES if not holds(row, now_ms))
    reason = PREDICTIONS.problem(row) or next(wrong, None)
    if reason is not None:
        raise MalformedRecord(reason)
    return row


def rejection(value: bytes | None) -> str:
    """The reason that a record of `bars.rejected` gives, cut to a line.

    Raises MalformedRecord where it gives none.
    """
    reason = _object(value).get("reason")
    if not isinstance(reason, str):
        raise MalformedRecord("reason must be a text")
    return "".join(c if c.isprintable() else " " for c in reason[:MAX_TEXT])


def _object(value: bytes | None) -> dict[str, Any]:
    if value is None:
        raise MalformedRecord("the record is empty")
    if len(value) > MAX_BYTES:
        raise MalformedRecord(f"the record is longer than {MAX_BYTES:,} bytes")
    try:
        found = orjson.loads(value)
    except ValueError as error:
        raise MalformedRecord("the record is no JSON") from error
    if not isinstance(found, dict):
        raise MalformedRecord("the record is no JSON object")
    return found


def _typed(found: dict[str, Any], name: str, kind: pa.DataType) -> Any:
    value = found.get(name)
    if value is None and name in PREDICTIONS.optional:
        return None
    if kind == TEXT:
        if isinstance(value, str) and 0 < len(value) <= MAX_TEXT and value.isprintable():
            return sys.intern(value)  # the same few come for ever
        raise MalformedRecord(f"{name} must be a text of one line")
    if kind == NUMBER:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
        raise MalformedRecord(f"{name} must be a finite number")
    if type(value) is int and 0 <= value < 2**53:
        return value
    raise MalformedRecord(f"{name} must be a whole number, not negative")


def _target_ms(row: Row) -> int:
    return int(row["as_of"] + row["horizon"] * TIMEFRAME_MS[row["interval"]])


_KINDS: Final = dict(zip(PREDICTIONS.packed.names, PREDICTIONS.packed.types, strict=True))
# Beside those of the table.
_RULES: Final = (
    ("symbol must look like BASE-QUOTE", lambda row, _: not symbol_problem(row["symbol"])),
    ("as_of must not be in the future", lambda row, now: row["as_of"] <= now + CLOCK_SKEW_MS),
    (
        "target_time must be horizon bars later",
        lambda row, _: row["target_time"] == _target_ms(row),
    ),
)
