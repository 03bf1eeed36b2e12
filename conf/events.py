"""One dialect for the log: a line an event, `event=NAME key=value ...`."""

import json
import logging
import re
from typing import Any, Final

_PLAIN: Final = re.compile(r"[^\s\"'=]+")


def event(log: logging.Logger, name: str, *, level: int = logging.INFO, **values: Any) -> None:
    """Write one line to `log`.

    A text that holds blanks or quotes is written as JSON, a float with six significant digits.

    >>> import sys
    >>> log = logging.Logger("example")
    >>> log.addHandler(logging.StreamHandler(sys.stdout))
    >>> event(log, "poll", symbols=2, took_s=0.25, reason="it's away")
    event=poll symbols=2 took_s=0.25 reason="it's away"
    """
    if log.isEnabledFor(level):
        pairs = "".join(f" {key}={_shown(value)}" for key, value in values.items())
        log.log(level, "event=%s%s", name, pairs, stacklevel=2)


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
