"""When a source refuses: for how long that is asked about again, and when it ends the program."""

import logging
from collections.abc import Sequence
from typing import Final

from conf.errors import ConfigurationError, NotOffered, RetryLater, Stop
from conf.events import event
from ingest.feed import MAX_RECHECK_MS, RECHECK_MS, Feed

log = logging.getLogger(__name__)

# A source that answered before and now refuses us is asked for so long before that ends ingest.
REFUSED_MS: Final = 3_600_000
# A series that had bars and is not offered is asked for again after this long.
AGAIN_MS: Final = 60_000


class Refusals:
    """What a source refuses now: `left_out` has the feeds that it does not offer.

    Times are of the monotonic clock, in ms.
    """

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._feeds = feeds
        self._answered = False
        self._refused_since_ms: int | None = None
        self.left_out: dict[Feed, int] = {}

    def answered(self, feed: Feed) -> None:
        """Note that the source has answered for `feed`."""
        self._answered, self._refused_since_ms = True, None
        self.left_out.pop(feed, None)

    def passes(self, error: Exception, now_ms: int) -> bool:
        """Whether to ask again after `error`.

        What wants a person, such as a refused key, is asked about again for a while where it worked
        before; a defect never.
        """
        if isinstance(error, RetryLater):
            return True
        if not isinstance(error, Stop) or not self._answered:
            return False
        if self._refused_since_ms is None:
            self._refused_since_ms = now_ms
        return now_ms - self._refused_since_ms < REFUSED_MS

    def leave_out(self, feed: Feed, error: NotOffered) -> int:
        """Leave `feed` out; return after how many ms to ask again, twice as many each time.

        Raises ConfigurationError where the source offers none of the feeds, and never did.
        """
        first_ms = RECHECK_MS if feed.newest_close_ms() is None else AGAIN_MS
        wait_ms = min(MAX_RECHECK_MS, 2 * self.left_out.get(feed, first_ms // 2))
        self.left_out[feed] = wait_ms
        again_s = wait_ms / 1000
        about = {"feed": feed.name, "again_s": again_s, "reason": error}
        event(log, "not_offered", level=logging.ERROR, **about)
        if not self._answered and len(self.left_out) == len(self._feeds):
            raise ConfigurationError(f"ingest.symbols: the source offers none of them: {error}")
        return wait_ms
