"""How many calls a source may get: token buckets, one for each limit that it publishes."""

from collections.abc import Mapping
from typing import Final

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


class TokenBucket:
    """Holds up to `capacity` tokens and regains `refill_per_s` of them a second.

    >>> bucket = TokenBucket(capacity=1, refill_per_s=2.0, now_ms=0)
    >>> bucket.take(), bucket.wait_s(now_ms=0), bucket.wait_s(now_ms=500)
    (None, 0.5, 0.0)
    """

    def __init__(self, capacity: float, refill_per_s: float, now_ms: int) -> None:
        self._capacity = capacity
        self._refill_per_s = refill_per_s
        self._tokens = capacity
        self._seen_ms = now_ms

    def wait_s(self, now_ms: int) -> float:
        """Seconds from `now_ms` until a token is there; 0 where one is there now."""
        passed_s = max(0, now_ms - self._seen_ms) / 1000
        self._tokens = min(self._capacity, self._tokens + passed_s * self._refill_per_s)
        self._seen_ms = now_ms
        return max(0.0, (1 - self._tokens) / self._refill_per_s)

    def take(self) -> None:
        """Use one token."""
        self._tokens -= 1

    @property
    def left(self) -> float:
        """Tokens that are there."""
        return self._tokens


class RateBudget:
    """All limits of one source together; `limits` is calls per `second`, `minute` ... `month`.

    >>> budget = RateBudget({"second": 4}, now_ms=0)
    >>> budget.take(now_ms=0), budget.take(now_ms=0)
    (0.0, 0.3333333333333333)
    """

    def __init__(self, limits: Mapping[str, int], now_ms: int) -> None:
        self._buckets = {
            window: TokenBucket(
                max(1.0, limit * BURST_SHARE),
                limit * (1 - BURST_SHARE) / WINDOW_S[window],
                now_ms,
            )
            for window, limit in limits.items()
        }
        self._paused_until_ms = now_ms

    def take(self, now_ms: int) -> float:
        """Take a call and return 0, or take none and return the seconds to wait for one."""
        wait_s = max(
            (self._paused_until_ms - now_ms) / 1000,
            *(bucket.wait_s(now_ms) for bucket in self._buckets.values()),
            0.0,
        )
        if wait_s > 0:
            return wait_s
        for bucket in self._buckets.values():
            bucket.take()
        return 0.0

    def pause(self, until_ms: int) -> None:
        """Let no call through before `until_ms` (epoch ms): the source asked for a break."""
        self._paused_until_ms = max(self._paused_until_ms, until_ms)

    @property
    def left(self) -> dict[str, float]:
        """Calls left now, by window."""
        return {window: max(0.0, bucket.left) for window, bucket in self._buckets.items()}


def sustained_calls(limit: int) -> float:
    """Calls in a window that a budget of `limit` lets through for ever.

    >>> sustained_calls(300)
    225.0
    """
    return limit * (1 - BURST_SHARE)
