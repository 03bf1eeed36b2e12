"""Records that the topics `predictions` and `bars.rejected` may hold: few good ones, many absurd.

All drawn from a seed. The good ones are of one series each; every other record is of that series,
too, where it can be: it must not spoil what is known of it.
"""

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Final

from conf.errors import MalformedRecord
from dashboard.records import prediction, rejection
from tests.fuzz.messages import ODD_NUMBERS, ODD_SYMBOLS, ODD_VALUES, Fields, encoded, text

GOOD_SYMBOL: Final = "GOOD-USD"
MINUTE_MS: Final = 60_000
# One record in so many is a good one.
GOOD_EVERY: Final = 1_000
REASON: Final = "the bar must be closed, not in the future"


def prediction_fields(as_of: int) -> Fields:
    """A prediction of the good series, each value as JSON."""
    return {
        "symbol": json.dumps(GOOD_SYMBOL),
        "interval": '"1m"',
        "as_of": str(as_of),
        "horizon": "1",
        "target_time": str(as_of + MINUTE_MS),
        "last_close": "100.0",
        "predicted_close": "100.5",
        "lower": "99.0",
        "upper": "102.0",
        "coverage": "0.9",
        "model_version": '"1m-1"',
        "query_id": '"fuzz"',
        "batch_id": "7",
        "predicted_at": str(as_of + 1_000),
    }


def rejection_fields(number: int) -> Fields:
    """A rejected message, each value as JSON."""
    return {
        "reason": json.dumps(REASON),
        "topic": '"bars"',
        "partition": "0",
        "offset": str(number),
        "value": '"eA=="',
    }


def predictions(count: int, seed: int, now_ms: int) -> Iterator[bytes | None]:
    """Records of `predictions`; the good ones, GOOD_EVERY apart, are of successive minutes."""
    first = now_ms // MINUTE_MS * MINUTE_MS - MINUTE_MS * (count // GOOD_EVERY + 1)
    yield from _records(
        count,
        Random(seed),
        lambda number: prediction_fields(first + number // GOOD_EVERY * MINUTE_MS),
        lambda value: prediction(value, now_ms),
    )


def rejections(count: int, seed: int) -> Iterator[bytes | None]:
    """Records of `bars.rejected`."""
    yield from _records(count, Random(seed), rejection_fields, rejection)


def _records(
    count: int,
    random: Random,
    fields: Callable[[int], Fields],
    check: Callable[[bytes | None], object],
) -> Iterator[bytes | None]:
    for number in range(count):
        if number % GOOD_EVERY == GOOD_EVERY - 1:
            yield encoded(text(fields(number)))
            continue
        yield next(one for one in _hostile(random, fields(number)) if not _is_good(check, one))


def _hostile(random: Random, fields: Fields) -> Iterator[bytes | None]:
    """Record after record that is perhaps none: what is changed may still be good."""
    kinds = (odd_value, without_field, field_twice, cut, flipped, noise, wrapped, no_object, deep)
    while True:
        if random.random() < 0.01:
            yield None
        yield random.choices(kinds, (8, 2, 2, 2, 2, 1, 1, 1, 0.05))[0](random, dict(fields))


def _is_good(check: Callable[[bytes | None], object], value: bytes | None) -> bool:
    try:
        check(value)
    except MalformedRecord:
        return False
    return True


def odd_value(random: Random, fields: Fields) -> bytes:
    name = random.choice(list(fields))
    symbols = [json.dumps(symbol) for symbol in ODD_SYMBOLS]
    fields[name] = random.choice(symbols if name == "symbol" else ODD_NUMBERS + ODD_VALUES)
    return encoded(text(fields))


def without_field(random: Random, fields: Fields) -> bytes:
    del fields[random.choice(list(fields))]
    return encoded(text(fields))


def field_twice(random: Random, fields: Fields) -> bytes:
    name = random.choice(list(fields))
    again = random.choice(["null", "[]", "-1", '"x"'])
    return encoded(text(fields)[:-1] + f',"{name}":{again}}}')


def cut(random: Random, fields: Fields) -> bytes:
    whole = encoded(text(fields))
    return whole[: random.randrange(len(whole))]


def flipped(random: Random, fields: Fields) -> bytes:
    whole = bytearray(encoded(text(fields)))
    for _ in range(random.randrange(1, 4)):
        whole[random.randrange(len(whole))] = random.randrange(256)
    return bytes(whole)


def noise(random: Random, fields: Fields) -> bytes:
    return random.randbytes(random.randrange(300))


def wrapped(random: Random, fields: Fields) -> bytes:
    whole = encoded(text(fields))
    return random.choice(
        [b"[" + whole + b"]", whole * 2, b"\xef\xbb\xbf" + whole, whole + b"\x00", b'"' + whole]
    )


def no_object(random: Random, fields: Fields) -> bytes:
    found = random.choice(["", "null", "42", "true", '"text"', "[]", "{}", "[[[[", "{{}}", " "])
    return found.encode()


def deep(random: Random, fields: Fields) -> bytes:
    depth = random.choice((10, 1_001, 20_000))
    fields[random.choice(list(fields))] = "[" * depth + "1" + "]" * depth
    return encoded(text(fields))
