"""Which bars of one series are on the topic, and which are still to be asked for."""

from collections.abc import Iterator
from typing import Final

UNKNOWN: Final = 0  # never answered for
ABSENT: Final = 1  # the source answered, and had no good bar there
PUBLISHED: Final = 2


class Coverage:
    """One byte a bar, from `first_ms` on, for a grid of `bar_ms`; times are epoch ms.

    A week of minutes is 10 kB, so the state of a hundred symbols is nothing, and a gap anywhere
    is as visible as one at the end.

    >>> coverage = Coverage(first_ms=0, bar_ms=60_000)
    >>> coverage.extend(last_ms=240_000)
    >>> coverage.mark(60_000, PUBLISHED)
    >>> list(coverage.runs(UNKNOWN))
    [(0, 0), (120000, 240000)]
    """

    def __init__(self, first_ms: int, bar_ms: int) -> None:
        self.bar_ms = bar_ms
        self.first_ms = first_ms // bar_ms * bar_ms
        self._states = bytearray()

    @property
    def last_ms(self) -> int:
        """The newest bar's `open_time`; `first_ms - bar_ms` where there is none."""
        return self.first_ms + (len(self._states) - 1) * self.bar_ms

    def extend(self, last_ms: int) -> None:
        """Reach up to the bar that opens at `last_ms`; new bars are UNKNOWN."""
        more = (last_ms - self.last_ms) // self.bar_ms
        self._states.extend(bytes(max(0, more)))

    def forget_before(self, first_ms: int) -> None:
        """Drop the bars that open before `first_ms`."""
        dropped = max(0, -((self.first_ms - first_ms) // self.bar_ms))
        del self._states[:dropped]
        self.first_ms += dropped * self.bar_ms

    def state(self, open_time: int) -> int | None:
        """The bar's state, or None for one outside."""
        index = self._index(open_time)
        return self._states[index] if index is not None else None

    def mark(self, open_time: int, state: int) -> None:
        """Set the bar's state; one outside is ignored."""
        index = self._index(open_time)
        if index is not None:
            self._states[index] = state

    def mark_unanswered(self, first_ms: int, last_ms: int) -> None:
        """Turn UNKNOWN into ABSENT from `first_ms` to `last_ms`, both included."""
        start = max(0, (first_ms - self.first_ms) // self.bar_ms)
        stop = max(0, (last_ms - self.first_ms) // self.bar_ms + 1)
        self._states[start:stop] = self._states[start:stop].replace(b"\0", b"\1")

    def ask_again(self) -> None:
        """Turn every ABSENT into UNKNOWN."""
        self._states = self._states.replace(b"\1", b"\0")

    def runs(self, state: int, from_ms: int | None = None) -> Iterator[tuple[int, int]]:
        """Stretches of bars in `state`, as (first, last) `open_time`, both included, ascending."""
        at = 0 if from_ms is None else max(0, (from_ms - self.first_ms) // self.bar_ms)
        wanted = bytes([state])
        while (start := self._states.find(wanted, at)) >= 0:
            at = start
            while at < len(self._states) and self._states[at] == state:
                at += 1
            yield self._time(start), self._time(at - 1)

    def count(self, state: int) -> int:
        """How many bars are in `state`."""
        return self._states.count(bytes([state]))

    def gaps(self) -> int:
        """How many bars after the first published one are not published."""
        start = self._states.find(bytes([PUBLISHED]))
        return 0 if start < 0 else len(self._states) - start - self.count(PUBLISHED)

    def newest_published(self) -> int | None:
        """The `open_time` of the newest published bar."""
        index = self._states.rfind(bytes([PUBLISHED]))
        return self._time(index) if index >= 0 else None

    def _index(self, open_time: int) -> int | None:
        index, rest = divmod(open_time - self.first_ms, self.bar_ms)
        return index if rest == 0 and 0 <= index < len(self._states) else None

    def _time(self, index: int) -> int:
        return self.first_ms + index * self.bar_ms
