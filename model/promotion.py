"""The gate: a model serves only after it has beaten what anyone could say, and the one in service.

Judged out of sample, on the same windows, by Diebold-Mariano: the CRPS of its distribution against
those of the last price with trailing and with constant volatility at the challenger's first
horizon, and against the champion's at the first horizon that both have. At no horizon may its CRPS
be worse than that, or its squared error than persistence's, by more than chance, where there are
windows enough to tell. Errors of several symbols at one time count as one: they are not
independent.

What is proven is `how far` where its spread around the last price beats both of these, `where`
where its squared error beats persistence's.

Errors are in units of the volatility before the window or of its symbol's usual one, whichever is
more, and a move of more than TARGET_LIMIT of it counts as that much: a symbol that jumps tenfold
neither decides nor drowns what all others say. All spreads follow live coverage in the same way.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from conf.errors import ArtifactMismatch
from conf.sections import Intervals, Promotion
from model.artifact import Artifact
from model.dataset import TARGET_LIMIT, Span
from model.features import MIN_VOLATILITY
from model.forecast import Forecaster
from model.outcomes import PERSISTENCE, Floats, Outcomes, joined
from model.series import Series
from model.validate import forecast_outcomes
from model.volatility import CONSTANT, TRAILING

CHALLENGER: Final = "challenger"
CHAMPION: Final = "champion"
# What a challenger is proven in.
HOW_FAR: Final = "how far"
WHERE: Final = "where"
BOTH: Final = "how far and where"
NOTHING: Final = "nothing yet"
PROVEN: Final = (HOW_FAR, WHERE, BOTH, NOTHING)
# Who must be beaten, and how people call them.
_ALONE: Final = {
    TRAILING: "persistence with trailing volatility",
    CONSTANT: "persistence with constant volatility",
}
ALONE: Final = tuple(_ALONE)
# The challenger's spread around the last price.
_SPREAD: Final = "spread"
# As shipped: all who compete follow their misses alike.
_ADAPT_RATE: Final = Intervals().adapt_rate
# So few windows that share no bar of their targets do not tell worse from chance.
_LEAST_APART: Final = 20
# A share of the squared error: two forecasts that differ by less are the same.
_ROUNDING: Final = 1e-9


@dataclass(frozen=True)
class Verdict:
    """What the gate found; `reason` is one sentence.

    `crps_skill` is the challenger's against the last price with trailing volatility at its first
    horizon, `p_trailing` the larger of those against that and constant volatility, `champion_skill`
    (against the same) and `p_champion` of CRPS at the first that both have; `skill` and
    `p_persistence` of its squared error, in volatilities. p-values are one-sided and had to lie
    below `level`, but for `p_persistence`; NaN where nothing was compared. `proven` is one of
    PROVEN. `judged_from` and `judged_until` are epoch ms UTC.
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
    crps_skill: float = math.nan
    p_trailing: float = math.nan
    proven: str = NOTHING


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
            [
                forecast_outcomes(one, Span(begin, part.end), forecasters, volatile=ALONE)
                for one in series
            ]
        ).tracked(_ADAPT_RATE)
    except ArtifactMismatch as error:
        return rejected(f"cannot be served: {error}")
    return compared(
        in_volatilities(outcomes),
        challenger.manifest.horizons,
        champion.manifest.horizons if champion else None,
        Span(begin, part.end),
        gate,
    )


def in_volatilities(outcomes: Outcomes) -> Outcomes:
    """The outcomes with actual and forecast returns in units of the size expected of them, at least
    of the size that is usual for their symbol: a quiet minute counts no more than it moves. The
    actual ones are clipped."""
    unit = outcomes.trailing
    unit = np.maximum(unit, np.maximum(_usual(unit, outcomes), MIN_VOLATILITY))
    return replace(
        outcomes,
        actual=np.clip(outcomes.actual / unit, -TARGET_LIMIT, TARGET_LIMIT),
        forecasts={name: outcomes.forecast(name) / unit for name in outcomes.forecasts},
        spreads={name: of / unit[:, None] for name, of in outcomes.spreads.items()},
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
    alone = max((_Contest.of(outcomes, horizons[0], name) for name in ALONE), key=lambda c: c.p)
    shared = [h for h in horizons if champions and h in champions]
    rival = _Contest.of(outcomes, shared[0], CHAMPION) if shared else None
    objection = _objection(outcomes, horizons, alone, rival, gate.level)
    first = outcomes.at(horizons[0])
    proven = _proven(first, gate.level)
    reason = f"beats {_ALONE[alone.rival]}: {alone}; proven: {proven}"
    if rival:
        reason = f"beats the champion: {rival}; proven: {proven}"
    elif champions:
        reason += "; no horizon in common with the champion"
    return Verdict(
        promoted=objection is None,
        reason=objection or reason,
        judged_from=unseen.start,
        judged_until=unseen.end,
        n_windows=n_windows,
        skill=first.skill(CHALLENGER),
        champion_skill=rival.rival_skill if rival else math.nan,
        p_persistence=first.against(CHALLENGER, PERSISTENCE).p_better,
        p_champion=rival.p if rival else math.nan,
        level=gate.level,
        crps_skill=alone.skill,
        p_trailing=alone.p,
        proven=proven,
    )


@dataclass(frozen=True)
class _Contest:
    """The challenger's CRPS against that of one rival at one horizon; skills are against the last
    price with trailing volatility, `p` is one-sided."""

    rival: str
    skill: float
    rival_skill: float
    p: float

    @classmethod
    def of(cls, outcomes: Outcomes, horizon: int, rival: str) -> "_Contest":
        here = outcomes.at(horizon)
        p = here.crps_against(CHALLENGER, rival).p_better
        own, others = (here.crps_skill(name, TRAILING) for name in (CHALLENGER, rival))
        return cls(rival, own, others, p)

    def __str__(self) -> str:
        against = f" against {self.rival_skill:.2%}" if self.rival_skill else ""
        return f"CRPS {self.skill:.2%} better{against}, p {self.p:.2g}"


def _proven(first: Outcomes, level: float) -> str:
    """What the challenger tells better than chance at its first horizon, one of PROVEN."""
    spread = replace(first, spreads={**first.spreads, _SPREAD: first.spreads[CHALLENGER]})
    far = all(spread.crps_against(_SPREAD, name).p_better < level for name in ALONE)
    where = first.against(CHALLENGER, PERSISTENCE).p_better < level
    return {(1, 1): BOTH, (1, 0): HOW_FAR, (0, 1): WHERE, (0, 0): NOTHING}[int(far), int(where)]


def _objection(
    outcomes: Outcomes,
    horizons: Sequence[int],
    alone: _Contest,
    rival: _Contest | None,
    level: float,
) -> str | None:
    """Why the challenger may not serve, or None."""
    if not outcomes.at(horizons[0]).actual.any():
        return f"does not beat {_ALONE[TRAILING]}: the price never moved"
    if not alone.p < level:
        return f"does not beat {_ALONE[alone.rival]}: {alone} of {level:.2g}"
    for horizon in horizons:
        here = outcomes.at(horizon)
        if len(np.unique(here.time)) < _LEAST_APART * horizon:
            continue
        if is_worse(here, CHALLENGER, level):
            return f"worse than persistence at horizon {horizon}"
        if _spreads_worse(here, level):
            return f"worse than {_ALONE[TRAILING]} at horizon {horizon}"
    if rival and not rival.p < level:
        return f"does not beat the champion: {rival} of {level:.2g}"
    return None


def _spreads_worse(outcomes: Outcomes, level: float) -> bool:
    """Whether the CRPS is worse than that of the last price with trailing volatility by more than
    rounding and by more than chance: a challenger that believes nothing else equals it."""
    p_worse = 1 - outcomes.crps_against(CHALLENGER, TRAILING).p_better
    return bool(outcomes.crps_skill(CHALLENGER, TRAILING) < -_ROUNDING and p_worse < level)


def is_worse(outcomes: Outcomes, name: str, level: float) -> bool:
    """Whether a forecaster errs more than persistence by more than rounding and by more than
    chance, over rows of one horizon.

    One that repeats the last price equals persistence, but for rounding.
    """
    loss, still = outcomes.loss_by_time(name).mean(), outcomes.loss_by_time(PERSISTENCE).mean()
    p_worse = 1 - outcomes.against(name, PERSISTENCE).p_better
    return bool(loss > still * (1 + _ROUNDING) and p_worse < level)
