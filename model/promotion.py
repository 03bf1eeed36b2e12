"""The gate: a model serves only after it has beaten persistence and the model in service.

Judged out of sample, on the same windows, by Diebold-Mariano: against persistence at the
challenger's first horizon, against the champion at the first horizon that both have; at no horizon
may the challenger be worse than persistence by more than chance. Errors of several symbols at one
time count as one: they are not independent.

Errors are in units of the volatility before the window or of its symbol's usual one, whichever is
more, and a move of more than TARGET_LIMIT of it counts as that much: a symbol that jumps tenfold
neither decides nor drowns what all others say.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from conf.errors import ArtifactMismatch
from conf.settings import Promotion
from model.artifact import Artifact
from model.dataset import TARGET_LIMIT, Span
from model.features import MIN_VOLATILITY
from model.forecast import Forecaster
from model.outcomes import PERSISTENCE, Floats, Outcomes, joined
from model.series import Series
from model.validate import forecast_outcomes

CHALLENGER: Final = "challenger"
CHAMPION: Final = "champion"
# A share of the squared error: two forecasts that differ by less are the same.
_ROUNDING: Final = 1e-9


@dataclass(frozen=True)
class Verdict:
    """What the gate found; `reason` is one sentence.

    `skill` and `p_persistence` are those of the challenger at its first horizon, `champion_skill`
    and `p_champion` at the first that both have, of errors in volatilities; p-values are one-sided
    and had to lie below `level`; NaN where nothing was compared. `judged_from` and `judged_until`
    are epoch ms UTC.
    """

    promoted: bool
    reason: str
    judged_from: int
    judged_until: int
    n_windows: int = 0
    skill: float = math.nan
    champion_skill: float = math.nan
    p_persistence: float = math.nan
    p_champion: float = math.nan
    level: float = math.nan


def judge(
    challenger: Artifact,
    champion: Artifact | None,
    series: Sequence[Series],
    part: Span,
    gate: Promotion,
) -> Verdict:
    """Decide whether `challenger` may replace `champion` (None: nothing is in service).

    Only windows of `part` that neither was trained on are looked at. A champion with other
    features, another lookback or other horizons is compared as far as both go; without a horizon
    in common persistence alone is to be beaten. A challenger that can't be judged is rejected;
    nothing is raised.
    """
    models = {CHALLENGER: challenger} | ({CHAMPION: champion} if champion else {})
    begin = max(part.start, *(model.manifest.trained_until for model in models.values()))

    def rejected(reason: str) -> Verdict:
        return Verdict(False, reason, begin, part.end)

    trained, judged = challenger.manifest.interval, series[0].interval
    if trained != judged:
        return rejected(f"trained on {trained} bars, judged on {judged} bars")
    try:
        forecasters = {name: Forecaster(model) for name, model in models.items()}
        outcomes = joined(
            [forecast_outcomes(one, Span(begin, part.end), forecasters) for one in series]
        )
    except ArtifactMismatch as error:
        return rejected(f"cannot be served: {error}")
    return compared(
        in_volatilities(outcomes, challenger),
        challenger.manifest.horizons,
        champion.manifest.horizons if champion else None,
        Span(begin, part.end),
        gate,
    )


def in_volatilities(outcomes: Outcomes, model: Artifact) -> Outcomes:
    """The outcomes with actual and forecast returns in units of the size expected of them, at least
    of the size that is usual for their symbol: a quiet minute counts no more than it moves. The
    actual ones are clipped; `outcomes.scale` is of the intervals of `model`."""
    widths = dict(zip(model.manifest.horizons, model.manifest.half_widths, strict=True))
    half_width = np.array([widths[horizon] for horizon in outcomes.horizon.tolist()])
    unit = np.divide(
        outcomes.scale, half_width, out=np.zeros_like(outcomes.scale), where=half_width > 0
    )
    unit = np.maximum(unit, np.maximum(_usual(unit, outcomes), MIN_VOLATILITY))
    return replace(
        outcomes,
        actual=np.clip(outcomes.actual / unit, -TARGET_LIMIT, TARGET_LIMIT),
        forecasts={name: outcomes.forecast(name) / unit for name in outcomes.forecasts},
    )


def _usual(unit: Floats, outcomes: Outcomes) -> Floats:
    """For each row the median unit of its symbol and horizon."""
    keys = np.stack([np.unique(outcomes.symbol, return_inverse=True)[1], outcomes.horizon])
    _, place = np.unique(keys, axis=1, return_inverse=True)
    medians = [np.median(unit[place == group]) for group in range(place.max(initial=-1) + 1)]
    return np.array(medians)[place]


def compared(
    outcomes: Outcomes,
    horizons: Sequence[int],
    champions: Sequence[int] | None,
    unseen: Span,
    gate: Promotion,
) -> Verdict:
    """The verdict on the forecasts of CHALLENGER, which has `horizons`, and of CHAMPION, which has
    `champions`, where there is one, over the windows of `unseen`.

    `outcomes` as from `in_volatilities`.
    """
    n_windows, times = len(outcomes) // len(horizons), len(np.unique(outcomes.time))
    # Windows of several symbols at one time are one look at the market, and so are those whose
    # targets overlap.
    rejected = partial(Verdict, False, judged_from=unseen.start, judged_until=unseen.end)
    apart = times // horizons[0]
    if apart < gate.min_windows:
        reason = f"{apart} times unseen by both, {gate.min_windows} are needed"
        return rejected(reason, n_windows=n_windows)
    if not np.isfinite(outcomes.forecast(CHALLENGER)).all():
        return rejected("a forecast is not a finite number", n_windows=n_windows)
    alone = _Contest.of(outcomes, horizons[0], PERSISTENCE)
    shared = [h for h in horizons if champions and h in champions]
    rival = _Contest.of(outcomes, shared[0], CHAMPION) if shared else None
    objection = _objection(outcomes, horizons, alone, rival, gate.level)
    reason = f"beats persistence by {alone.skill:.2%}, p {alone.p:.2g}"
    if rival:
        reason = f"beats the champion: {rival}"
    elif champions:
        reason += "; no horizon in common with the champion"
    return Verdict(
        promoted=objection is None,
        reason=objection or reason,
        judged_from=unseen.start,
        judged_until=unseen.end,
        n_windows=n_windows,
        skill=alone.skill,
        champion_skill=rival.rival_skill if rival else math.nan,
        p_persistence=alone.p,
        p_champion=rival.p if rival else math.nan,
        level=gate.level,
    )


@dataclass(frozen=True)
class _Contest:
    """The challenger against one rival at one horizon; `p` is one-sided."""

    skill: float
    rival_skill: float
    p: float

    @classmethod
    def of(cls, outcomes: Outcomes, horizon: int, rival: str) -> "_Contest":
        here = outcomes.at(horizon)
        p = here.against(CHALLENGER, rival).p_better
        return cls(here.skill(CHALLENGER), here.skill(rival), p)

    def __str__(self) -> str:
        return f"skill {self.skill:.2%} against {self.rival_skill:.2%}, p {self.p:.2g}"


def _objection(
    outcomes: Outcomes,
    horizons: Sequence[int],
    alone: _Contest,
    rival: _Contest | None,
    level: float,
) -> str | None:
    """Why the challenger may not serve, or None."""
    if math.isnan(alone.skill):
        return "does not beat persistence: the price never moved"
    if not alone.p < level:
        return f"does not beat persistence: skill {alone.skill:.2%}, p {alone.p:.2g} of {level:.2g}"
    for horizon in horizons:
        if is_worse(outcomes.at(horizon), CHALLENGER, level):
            return f"worse than persistence at horizon {horizon}"
    if rival and not rival.p < level:
        return f"does not beat the champion: {rival} of {level:.2g}"
    return None


def is_worse(outcomes: Outcomes, name: str, level: float) -> bool:
    """Whether a forecaster errs more than persistence by more than rounding and by more than
    chance, over rows of one horizon.

    One that repeats the last price equals persistence, but for rounding.
    """
    loss, still = outcomes.loss_by_time(name).mean(), outcomes.loss_by_time(PERSISTENCE).mean()
    p_worse = 1 - outcomes.against(name, PERSISTENCE).p_better
    return bool(loss > still * (1 + _ROUNDING) and p_worse < level)
