"""Wake-ups on the topic `bars`: the stream's note to itself that it has waited for leaders.

A wake-up stands at the end of each partition. It is no bar: who reads bars passes over it.
"""

from typing import Any, Final

import orjson

KEY: Final = b"wake"
VERSION: Final = 1
_BEGINS: Final = b'{"v":1,"wake":'


def wake_message(until_ms: int, partitions: int) -> bytes:
    """A wake-up for each of so many partitions: bars whose wait ends until then have waited.

    until_ms: by the topic's own times, epoch ms.
    """
    return orjson.dumps({"v": VERSION, "wake": until_ms, "partitions": partitions})


def read_wake(value: bytes | None) -> tuple[int, int] | None:
    """Until when, and how many partitions; None where the message is no wake-up.

    >>> read_wake(wake_message(7, partitions=4))
    (7, 4)
    """
    if value is None or not value.startswith(_BEGINS):
        return None
    try:
        found: dict[str, Any] = orjson.loads(value)
        until, partitions = found["wake"], found["partitions"]
    except (orjson.JSONDecodeError, KeyError):
        return None
    is_one = type(until) is int and type(partitions) is int and 0 < partitions <= 100_000
    return (until, partitions) if is_one and 0 <= until < 2**62 else None
