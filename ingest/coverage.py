"""Which bars of one series are on the topic, and which are still to be asked for."""

from typing import Final

UNKNOWN: Final = 0  # never answered for
ABSENT: Final = 1  # the source answered, and had no good bar there
PUBLISHED: Final = 2


class Coverage:
    """One byte a bar, from `first_ms` on, for a grid of `bar_ms`; times are epoch ms.

    A week of minutes is 10 kB, so the state of a hundred symbols is nothing, and a gap anywhere
    is as visible as one at the end.

    >>> coverage = Coverage(first_ms=0, bar_ms=60_000)
    >>> coverage.reach(last_ms=240_000)
    >>> coverage.mark(60_000, PUBLISHED)
    >>> coverage.oldest(UNKNOWN), coverage.oldest(UNKNOWN, from_ms=60_000), coverage.gaps()
    (0, 120000, 3)
    """

    def __init__(self, first_ms: int, bar_ms: int) -> None:
        self.bar_ms = bar_ms
        self.first_ms = first_ms // bar_ms * bar_ms
        self._states = bytearray()

    @property
    def last_ms(self) -> int:
        """The newest bar's `open_time`; `first_ms - bar_ms` where there is none."""
        return self.first_ms + (len(self._states) - 1) * self.bar_ms

    def reach(self, last_ms: int) -> None:
        """Reach up to the bar that opens at `last_ms`; new bars are UNKNOWN.

        Where that is earlier than before, as after a clock that went ahead, what comes behind it is
        dropped, but for what is published.
        """
        known_ms = self.newest(PUBLISHED)
        last_ms = last_ms if known_ms is None else max(last_ms, known_ms)
        more = (last_ms - self.last_ms) // self.bar_ms
        self._states.extend(bytes(max(0, more)))
        del self._states[max(0, len(self._states) + min(0, more)) :]

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

    def mark_absent(self, first_ms: int, last_ms: int) -> None:
        """Turn UNKNOWN into ABSENT from `first_ms` to `last_ms`, both included."""
        page = self._slice(first_ms, last_ms)
        self._states[page] = self._states[page].replace(b"\0", b"\1")

    def ask_again(self) -> None:
        """Turn every ABSENT into UNKNOWN."""
        self._states = self._states.replace(b"\1", b"\0")

    def oldest(self, state: int, from_ms: int | None = None) -> int | None:
        """The `open_time` of the first bar in `state`, at or after `from_ms`."""
        return self._time(self._states.find(state, self._slice(from_ms, None).start))

    def newest(self, state: int, to_ms: int | None = None) -> int | None:
        """The `open_time` of the last bar in `state`, at or before `to_ms`."""
        return self._time(self._states.rfind(state, 0, self._slice(None, to_ms).stop))

    def count(self, state: int, first_ms: int | None = None, last_ms: int | None = None) -> int:
        """How many bars are in `state`, from `first_ms` to `last_ms`, both included."""
        return self._states[self._slice(first_ms, last_ms)].count(state)

    def gaps(self) -> int:
        """How many bars after the first published one are not published."""
        first = self._states.find(PUBLISHED)
        return 0 if first < 0 else len(self._states) - first - self.count(PUBLISHED)

    def _index(self, open_time: int) -> int | None:
        index, rest = divmod(open_time - self.first_ms, self.bar_ms)
        return index if rest == 0 and 0 <= index < len(self._states) else None

    def _slice(self, first_ms: int | None, last_ms: int | None) -> slice:
        start = 0 if first_ms is None else max(0, (first_ms - self.first_ms) // self.bar_ms)
        stop = None if last_ms is None else max(0, (last_ms - self.first_ms) // self.bar_ms + 1)
        return slice(start, stop)

    def _time(self, index: int) -> int | None:
        return None if index < 0 else self.first_ms + index * self.bar_ms
