"""Would we notice a leak? On shuffled bars nothing can be learned; whoever still shows skill has
seen the future.

Shuffling the bars before anything is computed from them catches what looks ahead anywhere: in a
feature, a scaling, a split, or the scoring. Shuffling targets alone, after the features, would let
a feature that holds the target pass.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from conf.sections import Evaluation
from model.layout import BAR_COLUMNS, BASE_VOLUME, CLOSE, QUOTE_VOLUME
from model.outcomes import LSTM, PERSISTENCE
from model.series import Series
from model.training import ModelSettings
from model.walk_forward import lstm_alone


@dataclass(frozen=True)
class LeakCheck:
    """Skill where there can be none, and how likely so much is by chance."""

    skill: float
    p_value: float

    @property
    def leaks(self) -> bool:
        """Whether it is more than chance, at a level of 1 %."""
        return self.p_value < 0.01


def shuffled_bars(series: Series, seed: int) -> Series:
    """The same bars in random order, chained by their returns; what is missing stays missing.

    Each bar keeps its shape (open, high and low relative to its close) and volumes, and those of
    the leaders at its time, so that only the order in time is gone.
    """
    present = np.flatnonzero(~np.isnan(series.needed_close))
    order = np.random.default_rng(seed).permutation(len(present))
    shuffled = np.full_like(series.bars, np.nan)
    shuffled[present] = series.bars[present][order]
    layout = series.layout
    places = [layout.leader_columns(place) for place in range(layout.leaders)]
    for columns in (slice(BAR_COLUMNS), *places):
        shuffled[present, columns] = _chained(series.bars[present, columns], order)
    return replace(series, bars=shuffled)


def _chained(bars: NDArray[np.float64], order: NDArray[np.int64]) -> NDArray[np.float64]:
    """The bars (n, 6) in another order, each moved to where those before it have led."""
    log_close = np.log(bars[:, CLOSE])
    returns = np.diff(log_close, prepend=log_close[0])
    close = bars[0, CLOSE] * np.exp(np.cumsum(returns[order]))
    moved = bars[order]
    ratio = close / moved[:, CLOSE]
    moved[:, :BASE_VOLUME] *= ratio[:, None]
    moved[:, QUOTE_VOLUME] *= ratio
    return moved


def check_for_leak(shuffled: Series, model: ModelSettings, evaluation: Evaluation) -> LeakCheck:
    """Evaluate on bars without order, as on any series."""
    first = lstm_alone(shuffled, model, evaluation)
    return LeakCheck(first.skill(LSTM), first.against(LSTM, PERSISTENCE).p_better)
