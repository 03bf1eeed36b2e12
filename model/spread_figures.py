"""What the spread of a forecast is worth at one horizon, beside what any volatility would say."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from model.distribution import pinball, pit, qlike
from model.intervals import CENTRAL, QUANTILES
from model.outcomes import LSTM, Floats, Outcomes
from model.volatility import VOLATILITIES

# Of a Laplace distribution: the half-width that holds the middle half, over the mean size.
_MIDDLE_HALF: Final = float(np.log(2))
_TENTHS: Final = 10


@dataclass(frozen=True)
class SpreadFigures:
    """One horizon, every spread tracked by its outcomes in the same way.

    `crps`, `interval_score` (of the 90 % interval), `qlike` and `covered` (of that interval) are
    means by forecaster, `qlike` of the mean size that the middle half stands for; `pinball` by
    quantile, `pit` by part and `coverage` by what is promised are the LSTM's.
    `coverage_by_volatility` holds the last in each tenth of the windows by trailing volatility, the
    quietest first. `dm_p` are two-sided p-values of Diebold-Mariano on CRPS.
    """

    crps: dict[str, float]
    interval_score: dict[str, float]
    qlike: dict[str, float]
    covered: dict[str, float]
    dm_p: dict[str, float]
    pinball: dict[str, float]
    pit: list[float]
    coverage: dict[str, float]
    coverage_by_volatility: list[list[float]]

    def better(self, figure: str, rival: str) -> float:
        """By which share a score of the LSTM is better than that of a rival, such as 0.02."""
        scores: dict[str, float] = getattr(self, figure)
        return 1 - scores[LSTM] / scores[rival] if scores[rival] else float("nan")


def spread_figures(here: Outcomes, rivals: Sequence[str] = VOLATILITIES) -> SpreadFigures:
    """The figures of tracked outcomes at one horizon."""
    names = (LSTM, *rivals)
    quantiles = here.quantiles(LSTM)
    by_level = pinball(here.actual, quantiles).mean(axis=0).tolist()
    parts = np.bincount(pit(here.actual, quantiles), minlength=len(QUANTILES) + 1)
    covered = here.covered(LSTM)
    tenth = np.argsort(np.argsort(here.trailing, kind="stable")) * _TENTHS // max(len(here), 1)
    return SpreadFigures(
        crps={name: float(here.crps(name).mean()) for name in names},
        interval_score={name: float(here.winkler(name).mean()) for name in names},
        qlike={name: float(qlike(here.actual, _mean_size(here, name)).mean()) for name in names},
        covered={name: float(here.covered(name)[:, -1].mean()) for name in names},
        dm_p={rival: here.crps_against(LSTM, rival).p_value for rival in rivals},
        pinball=dict(zip(QUANTILES, by_level, strict=True)),
        pit=(parts / max(len(here), 1)).tolist(),
        coverage={f"{c:.0%}": float(covered[:, i].mean()) for i, c in enumerate(CENTRAL)},
        coverage_by_volatility=[
            covered[tenth == part].mean(axis=0).tolist() for part in range(_TENTHS)
        ],
    )


def _mean_size(here: Outcomes, name: str) -> Floats:
    return np.asarray(np.maximum(here.spreads[name][:, 0] / _MIDDLE_HALF, 1e-12))
