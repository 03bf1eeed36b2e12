"""Stretches of UTC time that one folder of a compacted table holds: an hour, a day or a month."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal, Self

Kind = Literal["hour", "day", "month"]
HOUR_MS: Final = 3_600_000
_FORMS: Final[dict[Kind, str]] = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}
_NAME: Final = re.compile(rf"({'|'.join(_FORMS)})-(.+)-(\d+)")


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """An hour, a day or a month, UTC."""

    start: datetime
    kind: Kind

    @classmethod
    def of(cls, time: datetime, kind: Kind) -> Self:
        """The one that `time` lies in.

        >>> Period.of(datetime(2026, 11, 1, 5, 30, tzinfo=UTC), "day").folder(0)
        'day-2026-11-01-0'
        """
        start = datetime.strptime(_text(time, kind), _FORMS[kind])
        return cls(start.replace(tzinfo=UTC), kind)

    @classmethod
    def hour(cls, number: int) -> Self:
        """The hour that begins so many hours after 1970."""
        return cls(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=number), "hour")

    @classmethod
    def named(cls, name: str) -> tuple[Self, int] | None:
        """The period and the generation that a folder's name tells; None for a micro-batch's.

        >>> Period.named("month-2026-11-3")[1]
        3
        >>> Period.named("8f0b-42") is None
        True
        """
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        kind: Kind = match[1]  # type: ignore[assignment]
        try:
            start = datetime.strptime(match[2], _FORMS[kind]).replace(tzinfo=UTC)
        except ValueError:
            return None
        return cls(start, kind), int(match[3])

    def folder(self, generation: int) -> str:
        """The name of the folder that holds it."""
        return f"{self.kind}-{_text(self.start, self.kind)}-{generation}"

    @property
    def last_day(self) -> date:
        """The day that it ends with."""
        if self.kind != "month":
            return self.start.date()
        return (self.start.replace(day=28) + timedelta(days=4)).replace(day=1).date() - timedelta(1)

    def within(self, kind: Kind) -> "Period":
        """The period of that kind which it begins in."""
        return Period.of(self.start, kind)


def _text(time: datetime, kind: Kind) -> str:
    """A time in the form of a kind; `strftime` would give the year 828 three digits.

    >>> _text(datetime(828, 4, 1, 5), "day")
    '0828-04-01'
    """
    return time.isoformat()[: {"hour": 13, "day": 10, "month": 7}[kind]]
