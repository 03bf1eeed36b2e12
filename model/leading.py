"""Which series lead which: what a leader's bar of the same time adds to a series' own past.

A line because it is fitted in a tenth of a second, so that every pair can be tried; where it finds
something, the LSTMs find more. It is fitted on the first part of the bars and judged on the rest.
The control beside it is the same leader late, by a day where there are enough: it should add
nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from conf.sections import MOST_LEADERS
from model.dataset import TARGET_LIMIT, Span, Windows, embargo_bars, windows_of
from model.features import input_named
from model.leaders import with_leaders
from model.linear import fit_linear, flat_features
from model.series import Series
from model.significance import diebold_mariano

Floats = NDArray[np.float64]
# The bars that a line is fitted to come first, and are so much of all.
FITTED_SHARE: Final = 0.7
# A leader is proposed that adds so much on the mean over all who follow, and so much more than its
# control, as shares of the squared error.
WORTH: Final = 0.002
_LEAST_WINDOWS: Final = 200
_DAY_MS: Final = 86_400_000
_DAYS_FOR_A_DAY: Final = 4


@dataclass(frozen=True)
class Lead:
    """What a leader, behind those before it, adds for a follower on bars that no line has seen.

    `gain` is the share of the squared error that it takes away, of moves in units of volatility,
    `control` the same of the leader when it comes late; `p_better` how likely such a gain is by
    chance (Diebold-Mariano).
    """

    leader: str
    follower: str
    gain: float
    control: float
    p_better: float


@dataclass(frozen=True)
class Proposal:
    """Leaders, the first being the best, and what each adds for each follower."""

    leaders: tuple[str, ...]
    leads: tuple[Lead, ...]


def propose(series: Sequence[Series], candidates: Sequence[str], lookback: int) -> Proposal:
    """The leaders out of `candidates` that are worth it for all series together, at most four.

    One is added after another, each time that which adds most. The leads are those of the last
    look at each candidate.
    """
    chosen: list[str] = []
    leads: dict[str, list[Lead]] = {}
    while len(chosen) < MOST_LEADERS and len(chosen) < len(candidates):
        for name in candidates:
            if name not in chosen:
                leads[name] = _leads(series, [*chosen, name], lookback)
        best = max((n for n in leads if n not in chosen), key=lambda name: _mean(leads[name]))
        if not _is_worth_it(leads[best]):
            break
        chosen.append(best)
    found = [lead for name in dict.fromkeys([*chosen, *leads]) for lead in leads[name]]
    return Proposal(tuple(chosen), tuple(found))


def most_traded(series: Sequence[Series], count: int) -> list[str]:
    """The symbols with the most value traded a bar: who may lead."""
    value = {one.symbol: float(np.nanmean(one.bars[:, 3] * one.bars[:, 4])) for one in series}
    return sorted(value, key=lambda symbol: -value[symbol])[:count]


def _leads(series: Sequence[Series], leaders: Sequence[str], lookback: int) -> list[Lead]:
    """What the last of `leaders` adds for each of the others."""
    *_, last = leaders
    by_name = {one.symbol: one for one in series}
    late = [_late(by_name[name], lookback) if name == last else by_name[name] for name in leaders]
    found = []
    for one in series:
        if one.symbol == last:
            continue
        names = [None if name == one.symbol else name for name in leaders]
        leaders_of = {one.symbol: names}.__getitem__
        true, control = (
            _added(with_leaders([one], leaders_of, others)[0], lookback)
            for others in ([by_name[name] for name in leaders], late)
        )
        if true is not None and control is not None:
            found.append(Lead(last, one.symbol, true[0], control[0], true[1]))
    return found


def _late(series: Series, lookback: int) -> Series:
    """Late by a lookback, and by a day where that leaves most of the bars."""
    delay = lookback * series.bar_ms
    if len(series.bars) * series.bar_ms >= _DAYS_FOR_A_DAY * _DAY_MS:
        delay = max(_DAY_MS, delay)
    return replace(series, first_open_time=series.first_open_time + delay)


def _added(read: Series, lookback: int) -> tuple[float, float] | None:
    """The gain of the last leader of a series, and its p; None where there are too few windows."""
    opens = read.open_times(np.array([0, int(len(read.bars) * FITTED_SHARE)]))
    embargo_ms = embargo_bars(lookback, (1,)) * read.bar_ms
    fit, judge = (
        windows_of([read], part, lookback, (1,))
        for part in (
            Span(int(opens[0]), int(opens[1]) - embargo_ms),
            Span(int(opens[1]), read.end_time),
        )
    )
    if min(len(fit), len(judge)) < _LEAST_WINDOWS:
        return None
    without, with_last = (
        _squared_errors(_first_leaders(fit, count), _first_leaders(judge, count))
        for count in (len(read.leaders) - 1, len(read.leaders))
    )
    gain = 1 - float(with_last.sum() / without.sum()) if without.any() else 0.0
    return gain, diebold_mariano(with_last, without, 1).p_better


def _first_leaders(windows: Windows, count: int) -> Windows:
    """The same windows with the features of so many leaders."""
    names = tuple(name for name in windows.feature_names if input_named(name).leader <= count)
    return replace(windows, bars=windows.bars[:, : len(names)], feature_names=names)


def _squared_errors(fit: Windows, judge: Windows) -> Floats:
    """Of a line that was fitted to the one, on the other (n_windows,)."""
    kernel = fit_linear(fit, np.ones(len(fit)))[:, :1]
    forecast = np.concatenate([flat_features(some) @ kernel for some in judge.feature_batches()])
    targets = np.clip(judge.targets[:, 0], -TARGET_LIMIT, TARGET_LIMIT)
    errors: Floats = targets - forecast[:, 0].astype(float)
    return errors**2


def _mean(leads: Sequence[Lead]) -> float:
    return float(np.mean([lead.gain for lead in leads])) if leads else -np.inf


def _is_worth_it(leads: Sequence[Lead]) -> bool:
    """Whether a leader adds enough on the mean, more than its control, and for someone surely."""
    if not leads:
        return False
    control = float(np.mean([lead.control for lead in leads]))
    sure = min(lead.p_better for lead in leads) * len(leads) < 0.01
    return sure and _mean(leads) - max(control, 0.0) >= WORTH
