"""The gate: a model serves only after it has beaten persistence and the model in service.

Judged out of sample, on the same windows, by Diebold-Mariano at the first horizon; no other
horizon may be worse than persistence by more than chance. Errors of several symbols at one time
count as one: they are not independent.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from conf.errors import ArtifactMismatch
from model.artifact import Artifact
from model.dataset import Span, window_ends
from model.evaluate import skill
from model.features import FEATURE_LISTS
from model.forecast import Forecaster
from model.series import Series
from model.significance import diebold_mariano

Floats = NDArray[np.float64]
# A share of the squared error: two forecasts that differ by less are the same.
_ROUNDING: Final = 1e-9


@dataclass(frozen=True)
class GateSettings:
    """`level` is the chance to let a model pass that is no better; fewer windows decide nothing."""

    level: float
    min_windows: int


@dataclass(frozen=True)
class Verdict:
    """What the gate found; `reason` is one sentence.

    Skills are those at the first horizon, p-values one-sided; NaN where nothing was compared.
    `judged_from` and `judged_until` are epoch ms UTC.
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


@dataclass(frozen=True)
class _Judged:
    """Log returns that came and that each forecast, (n_windows, n_horizons), and when."""

    came: Floats
    forecast: Floats
    champion: Floats | None
    times: NDArray[np.int64]


def judge(
    challenger: Artifact,
    champion: Artifact | None,
    series: Sequence[Series],
    part: Span,
    gate: GateSettings,
) -> Verdict:
    """Decide whether `challenger` may replace `champion` (None: nothing is in service).

    Only windows of `part` that neither was trained on are looked at. A challenger that can't be
    compared is refused; nothing is raised.
    """
    unseen = Span(
        max(part.start, *(a.manifest.trained_until for a in (challenger, champion) if a)), part.end
    )
    unfit = _unfit(challenger, champion, series)
    if unfit is not None:
        return Verdict(False, unfit, unseen.start, unseen.end)
    try:
        judged = _forecasts(challenger, champion, series, unseen)
    except ArtifactMismatch as error:
        return Verdict(False, f"cannot be served: {error}", unseen.start, unseen.end)
    if len(judged.came) < gate.min_windows:
        reason = f"{len(judged.came)} windows unseen by both, {gate.min_windows} are needed"
        return Verdict(False, reason, unseen.start, unseen.end, len(judged.came))
    if not np.isfinite(judged.forecast).all():
        reason = "a forecast is not a finite number"
        return Verdict(False, reason, unseen.start, unseen.end, len(judged.came))
    return _compare(judged, challenger.manifest.horizons, unseen, gate)


def _unfit(challenger: Artifact, champion: Artifact | None, series: Sequence[Series]) -> str | None:
    """Why the two can't be compared at all, or None."""
    manifest = challenger.manifest
    if manifest.feature_names not in FEATURE_LISTS:
        return "trained on another list of features than this code computes"
    timeframe = series[0].interval
    if manifest.interval != timeframe:
        return f"trained on {manifest.interval} bars, judged on {timeframe} bars"
    if champion is None:
        return None
    for name in ("interval", "lookback", "horizons"):
        own, other = getattr(manifest, name), getattr(champion.manifest, name)
        if own != other:
            return f"{name} {own} differs from the champion's {other}"
    return None


def _forecasts(
    challenger: Artifact, champion: Artifact | None, series: Sequence[Series], part: Span
) -> _Judged:
    own = Forecaster(challenger)
    other = None if champion is None else Forecaster(champion)
    came, forecast, rival, times = [], [], [], []
    for one in series:
        ends = window_ends(one, part, own.lookback, own.horizons)
        targets = one.close[ends[:, None] + np.array(own.horizons)]
        last = one.close[ends][:, None]
        came.append(np.log(targets / last))
        forecast.append(np.log(own.predict(one.bars, ends).predicted_close / last))
        if other is not None:
            rival.append(np.log(other.predict(one.bars, ends).predicted_close / last))
        times.append(one.first_open_time + (ends + 1) * one.bar_ms)
    return _Judged(
        np.concatenate(came),
        np.concatenate(forecast),
        np.concatenate(rival) if rival else None,
        np.concatenate(times),
    )


def is_worse(loss: Floats, other_loss: Floats, p_better: float, level: float) -> bool:
    """Whether the losses are larger than the others by more than rounding and by more than chance.

    A model that repeats the last price at a horizon equals persistence there, but for rounding.
    `p_better` is that of `diebold_mariano`, which is 1 for equal losses too.

    >>> noise = np.random.default_rng(1).normal(size=500) ** 2
    >>> [is_worse(noise + more, noise, 1.0, 0.05) for more in (0.1, 0.0, 1e-16)]
    [True, False, False]
    """
    return bool(loss.mean() > other_loss.mean() * (1 + _ROUNDING) and 1 - p_better < level)


def _compare(judged: _Judged, horizons: Sequence[int], part: Span, gate: GateSettings) -> Verdict:
    loss = _loss(judged, judged.forecast)
    still = _loss(judged, np.zeros_like(judged.came))
    against = [diebold_mariano(loss[:, i], still[:, i], h) for i, h in enumerate(horizons)]
    own_skill = skill(judged.came[:, 0], judged.forecast[:, 0])
    worse = [
        horizon
        for i, horizon in enumerate(horizons)
        if is_worse(loss[:, i], still[:, i], against[i].p_better, gate.level)
    ]
    p_champion, champion_skill = math.nan, math.nan
    if judged.champion is not None:
        rival = _loss(judged, judged.champion)
        p_champion = diebold_mariano(loss[:, 0], rival[:, 0], horizons[0]).p_better
        champion_skill = skill(judged.came[:, 0], judged.champion[:, 0])
    promoted, reason = True, f"beats persistence by {own_skill:.2%}, p {against[0].p_better:.2g}"
    if against[0].p_better >= gate.level:
        promoted = False
        reason = f"does not beat persistence: skill {own_skill:.2%}, p {against[0].p_better:.2g}"
    elif worse:
        promoted = False
        reason = f"worse than persistence at horizon {worse[0]}"
    elif judged.champion is not None:
        promoted = p_champion < gate.level
        beats = "beats" if promoted else "does not beat"
        reason = (
            f"{beats} the champion: skill {own_skill:.2%} against {champion_skill:.2%}, "
            f"p {p_champion:.2g}"
        )
    return Verdict(
        promoted,
        reason,
        part.start,
        part.end,
        len(judged.came),
        own_skill,
        champion_skill,
        against[0].p_better,
        p_champion,
    )


def _loss(judged: _Judged, forecast: Floats) -> Floats:
    """Squared error at each time, mean over the symbols there: (n_times, n_horizons)."""
    squared = (judged.came - forecast) ** 2
    _, place, count = np.unique(judged.times, return_inverse=True, return_counts=True)
    total = np.zeros((len(count), squared.shape[1]))
    np.add.at(total, place, squared)
    return total / count[:, None]
