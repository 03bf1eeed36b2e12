"""Messages that a topic open to the world may hold: good bars, absurd ones, and what is no bar.

All drawn from a seed, so that a message can be made again from its number.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Final

from conf.timeframes import TIMEFRAME_MS

YEAR_2100_MS: Final = 4_102_444_800_000
NEWEST_GOOD_MS: Final = 1_735_689_600_000  # 2025: closed, whenever this runs
# Below the broker's limit on a batch of messages, 1,048,588 bytes with what surrounds the message.
LARGEST_BYTES: Final = 1_000_000
# As many symbols as an exchange lists, so that the window state has a size that it can keep.
SYMBOLS: Final = [
    f"{letter}{number}-{quote}"
    for letter in ("BTC", "é", "币安", "Ω", "🚀", "a'b", 'q"q', "İ", "ß", "ﷺ")
    for number in range(10)
    for quote in ("USD", "₿", "人生")
]
ODD_SYMBOLS: Final = [
    *("", "-", "BTC", "A-B-C", "A-\x00", "A\u200b-B", "../..-x", "A-B\n", "\ud83d-B", "x" * 99),
]
ODD_NUMBERS: Final = [
    *("0", "-0.0", "-1", "5e-324", "1e308", "1.7976931348623157e308", "1e309", "-1e400", "NaN"),
    *("Infinity", "-Infinity", "0x10", "1_000", "01", "+1", ".5", "5.", "1e", "9" * 400),
    *("9" * 2000, "9223372036854775807", "9223372036854775808", "1e18", "1.5", '"12.5"', '"NaN"'),
]
ODD_VALUES: Final = [
    *("null", "true", "false", "[]", "{}", "[1.0]", '{"a":{"b":[null]}}', '""', '"\\u0000"', '"é"'),
    *('"\\ud83d"', "[" * 50 + "]" * 50, "undefined", "'x'", "1 /* one */"),
]
# These alone have absurd prices, and these alone bars of any time, after which everything else is
# too late: the windows of the others are plain.
ABSURD: Final = SYMBOLS[:30]
TIMELESS: Final = SYMBOLS[30:60]
PLAIN: Final = SYMBOLS[60:]
FIRST_MS: Final = 1_600_000_000_000
TINY: Final = 5e-324
HUGE: Final = 1e308

Fields = dict[str, str]
# How many bars each series has had.
Steps = dict[tuple[str, str], int]


def messages(count: int, seed: int) -> Iterator[bytes | None]:
    """`count` messages; the same for the same seed. None is a message without a value."""
    random = Random(seed)
    steps: Steps = {}
    makers, weights = zip(*MAKERS.items(), strict=True)
    for make in random.choices(makers, weights, k=count):
        yield make(random, steps)


def good_fields(random: Random, steps: Steps, symbols: Sequence[str] = PLAIN) -> Fields:
    """The newest bar of one of the series so far, each value as JSON."""
    symbol = random.choice(symbols)
    timeframe = random.choices(list(TIMEFRAME_MS), (20, *[1] * (len(TIMEFRAME_MS) - 1)))[0]
    length = TIMEFRAME_MS[timeframe]
    open_time = FIRST_MS // length * length + steps.get((symbol, timeframe), 0) * length
    return bar_fields(symbol, timeframe, open_time, random.uniform(0.5, 50_000))


def next_bar(random: Random, steps: Steps, symbols: Sequence[str]) -> Fields:
    """The next bar of one of the series: without a gap, so that windows become complete."""
    fields = good_fields(random, steps, symbols)
    series = (json.loads(fields["symbol"]), json.loads(fields["interval"]))
    steps[series] = steps.get(series, 0) + 1
    return fields


def bar_fields(symbol: str, timeframe: str, open_time: int, low: float) -> Fields:
    """A bar that keeps every rule, its lowest price `low`."""
    high = min(low * 1.01, HUGE)
    return {
        "v": "2",
        "symbol": json.dumps(symbol, ensure_ascii=False),
        "interval": json.dumps(timeframe),
        "open_time": str(open_time),
        "open": repr(low),
        "high": repr(high),
        "low": repr(low),
        "close": repr(high),
        "base_volume": "1.5",
        "quote_volume": "null" if open_time % 7 == 0 else "16.0",
        "source": '"fuzz"',
        "fetched_at": str(open_time + TIMEFRAME_MS[timeframe]),
        "trades": "null" if open_time % 3 == 0 else "7",
        "taker_base_volume": "0.5",
        "taker_quote_volume": "null",
    }


def text(fields: Fields) -> str:
    """A JSON object with these fields."""
    return "{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}"


def encoded(message: str) -> bytes:
    """UTF-8, also of half a surrogate pair, which is then no UTF-8."""
    return message.encode("utf-8", "surrogatepass")


def good(random: Random, steps: Steps) -> bytes:
    return encoded(text(next_bar(random, steps, PLAIN)))


def absurd_price(random: Random, steps: Steps) -> bytes:
    fields = next_bar(random, steps, ABSURD)
    price = random.choice([TINY, 1e-300, 1e-30, 9e29, 1e30, 1e300, HUGE])
    prices = bar_fields("x", "1m", 0, price)
    volume = random.choice(["0.0", "1e308", "5e-324"])
    volumes = {"base_volume": volume, "quote_volume": volume}
    return encoded(
        text(fields | {n: prices[n] for n in ("open", "high", "low", "close")} | volumes)
    )


def any_time(random: Random, steps: Steps) -> bytes:
    """A bar from 1970 to 2100, on the grid or off it."""
    timeframe = random.choice(list(TIMEFRAME_MS))
    length = TIMEFRAME_MS[timeframe]
    time = random.randrange(YEAR_2100_MS) // length * length + random.choice((0, 0, 0, 1))
    fields = bar_fields(random.choice(TIMELESS), timeframe, time, 10.0)
    return encoded(text(fields | {"fetched_at": str(random.choice((time, 0, NEWEST_GOOD_MS)))}))


def odd_field(random: Random, steps: Steps) -> bytes:
    fields = good_fields(random, steps)
    name = random.choice(list(fields))
    symbols = [json.dumps(symbol) for symbol in ODD_SYMBOLS]
    fields[name] = random.choice(symbols if name == "symbol" else ODD_NUMBERS + ODD_VALUES)
    return encoded(text(fields))


def without_field(random: Random, steps: Steps) -> bytes:
    fields = good_fields(random, steps)
    del fields[random.choice(list(fields))]
    return encoded(text(fields))


def field_twice(random: Random, steps: Steps) -> bytes:
    fields = good_fields(random, steps)
    name = random.choice(list(fields))
    return encoded(text(fields)[:-1] + f',"{name}":{random.choice([fields[name], "null", "7"])}}}')


def more_fields(random: Random, steps: Steps) -> bytes:
    unknown = {random.choice("abcXYZ é") * random.randrange(1, 9): "[{}]"}
    return encoded(text(unknown | good_fields(random, steps)))


def cut(random: Random, steps: Steps) -> bytes:
    whole = good(random, steps)
    return whole[: random.randrange(len(whole))]


def flipped(random: Random, steps: Steps) -> bytes:
    whole = bytearray(good(random, steps))
    for _ in range(random.randrange(1, 4)):
        whole[random.randrange(len(whole))] = random.randrange(256)
    return bytes(whole)


def noise(random: Random, steps: Steps) -> bytes:
    return random.randbytes(random.randrange(300))


def wrapped(random: Random, steps: Steps) -> bytes:
    """A good bar in what is no bar, or in another encoding."""
    bar = good(random, steps)
    return random.choice(
        [
            b"[" + bar + b"]",
            b"[" + bar + b"," + bar + b"]",
            bar + bar,
            bar + b"\n" + bar,
            bar + b"x",
            b"\xef\xbb\xbf" + bar,
            b"\x00" + bar,
            bar + b"\x00",
            bar.replace(b":", b"\x00:", 1),
            b"  \n" + bar + b" \n",
            b'{"bar":' + bar + b"}",
            json.dumps(bar.decode()).encode(),
            bar.decode().encode("utf-16"),
            bar.replace(b'"', b"'"),
            b"/* bar */" + bar,
        ]
    )


def no_object(random: Random, steps: Steps) -> bytes:
    text = random.choice(["", "null", "42", "true", '"text"', "[]", "{}", "{", "}", " ", "{{}}"])
    return random.choice([text.encode(), b"\xff\xfe"])


def deep(random: Random, steps: Steps) -> bytes:
    depth = random.choice((10, 999, 1_001, 20_000))
    fields = good_fields(random, steps)
    nested = random.choice((("[", "]"), ('{"a":', "}")))
    filling = nested[0] * depth + "1" + nested[1] * depth
    return encoded(text(fields | {random.choice(["source", "other", "close"]): filling}))


def large(random: Random, steps: Steps) -> bytes:
    size = random.randrange(100_000, LARGEST_BYTES - 1_000)
    fields = good_fields(random, steps)
    name = random.choice(["source", "symbol", "other", "close"])
    return encoded(text(fields | {name: "9" * size if name == "close" else f'"{"x" * size}"'}))


def without_value(random: Random, steps: Steps) -> None:
    return None


MAKERS: Final[dict[Callable[[Random, Steps], bytes | None], float]] = {
    good: 40,
    absurd_price: 5,
    any_time: 8,
    odd_field: 15,
    without_field: 5,
    field_twice: 4,
    more_fields: 2,
    cut: 5,
    flipped: 6,
    noise: 3,
    wrapped: 3,
    no_object: 2,
    without_value: 1,
    deep: 0.2,
    large: 0.01,
}
