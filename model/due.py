"""When a challenger should be trained; nothing here trains."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from conf.sections import Retrain

RETRY_AFTER: Final = timedelta(days=1)
SCHEDULE_DAYS: Final = {"daily": 1, "weekly": 7, "monthly": 30}


@dataclass(frozen=True)
class LiveFigures:
    """The champion's newest live predictions at its first horizon, against the actuals."""

    n_windows: int
    skill: float
    coverage: float


def reason_to_retrain(
    now: datetime,
    last_decision: datetime | None,
    figures: LiveFigures | None,
    coverage: float,
    bounds: Retrain,
    drift: Sequence[str] = (),
    last_attempt: datetime | None = None,
) -> str | None:
    """Why a challenger should be trained now, or None.

    `last_attempt` is when a training began last, whatever became of it. `figures` are the
    champion's at its first horizon, None before there are any; fewer windows than `live_windows`
    are not judged. `drift` holds what has drifted from the training range.

    >>> from datetime import UTC
    >>> weekly, day = Retrain(schedule="weekly"), datetime(2024, 1, 8, tzinfo=UTC)
    >>> reason_to_retrain(day, datetime(2024, 1, 1, tzinfo=UTC), None, 0.9, weekly)
    'the weekly challenger is due'
    >>> reason_to_retrain(day, day, None, 0.9, weekly)
    """
    # A day between two tries: what one day of bars could not mend, five minutes will not. What a
    # clock that was ahead has noted says nothing.
    if last_attempt is not None and timedelta() <= now - last_attempt < RETRY_AFTER:
        return None
    if last_decision is None or last_decision > now:
        return "no challenger was ever judged"
    age_days = (now - last_decision).total_seconds() / 86_400
    if age_days >= SCHEDULE_DAYS[bounds.schedule]:
        return f"the {bounds.schedule} challenger is due"
    if now - last_decision < RETRY_AFTER:
        return None
    if drift:
        return f"drifted: {drift[0]}"
    if figures is None or figures.n_windows < bounds.live_windows:
        return None
    if not math.isnan(figures.skill) and figures.skill < bounds.min_skill:
        return f"live skill {figures.skill:.2%} is below {bounds.min_skill:.2%}"
    if abs(figures.coverage - coverage) > bounds.coverage_tolerance:
        return f"live coverage {figures.coverage:.1%} is far from {coverage:.0%}"
    return None
