"""How many calls a source may get: a token bucket for each limit that it publishes."""

import math
from collections.abc import Mapping
from typing import Any, Final

WINDOW_S: Final = {
    "second": 1,
    "minute": 60,
    "hour": 3_600,
    "day": 86_400,
    "month": 30 * 86_400,
}
# A bucket of capacity C that refills at R a second lets C + R * window through in one window. A
# quarter at once and three quarters over time keep any window within the limit.
BURST_SHARE: Final = 0.25


class RateBudget:
    """All limits of one source together; `limits` is calls per `second`, `minute` ... `month`.

    Times are of a clock that nobody sets, in ms.

    >>> budget = RateBudget({"second": 4}, now_ms=0)
    >>> budget.take(now_ms=0), budget.take(now_ms=0), budget.take(now_ms=500)
    (0.0, 0.3333333333333333, 0.0)
    """

    def __init__(self, limits: Mapping[Any, int], now_ms: int) -> None:
        self._capacity = {w: max(1.0, limit * BURST_SHARE) for w, limit in limits.items()}
        self._per_s = {w: sustained_calls(limit) / WINDOW_S[w] for w, limit in limits.items()}
        self.left = dict(self._capacity)
        self._seen_ms = now_ms
        self._paused_until_ms = -math.inf

    def take(self, now_ms: int) -> float:
        """Take a call and return 0, or take none and return the seconds to wait for one."""
        passed_s = max(0, now_ms - self._seen_ms) / 1000
        self._seen_ms = now_ms
        wait_s = max(0.0, (self._paused_until_ms - now_ms) / 1000)
        for window, per_s in self._per_s.items():
            tokens = min(self._capacity[window], self.left[window] + passed_s * per_s)
            self.left[window] = tokens
            wait_s = max(wait_s, (1 - tokens) / per_s)
        if wait_s == 0:
            self.left = {window: tokens - 1 for window, tokens in self.left.items()}
        return wait_s

    def pause(self, until_ms: int) -> None:
        """Let no call through before `until_ms`: the source asked for a break."""
        self._paused_until_ms = max(self._paused_until_ms, until_ms)


def sustained_calls(limit: int) -> float:
    """Calls in a window that a budget of `limit` lets through for ever.

    >>> sustained_calls(300)
    225.0
    """
    return limit * (1 - BURST_SHARE)
