"""Would we notice a leak? On shuffled bars nothing can be learned; whoever still shows skill has
seen the future.

Shuffling the bars before anything is computed from them catches what looks ahead anywhere: in a
feature, a scaling, a split, or the scoring. Shuffling targets alone, after the features, would let
a feature that holds the target pass.
"""

from dataclasses import dataclass, replace

import numpy as np

from conf.settings import Evaluation
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

    Each bar keeps its shape (open, high and low relative to its close) and volumes, so that only
    the order in time is gone.
    """
    bars = series.bars
    present = np.flatnonzero(~np.isnan(bars[:, 3]))
    shape = bars[present].copy()
    returns = np.diff(np.log(shape[:, 3]), prepend=np.log(shape[0, 3]))
    order = np.random.default_rng(seed).permutation(len(present))
    close = shape[0, 3] * np.exp(np.cumsum(returns[order]))
    ratio = close / shape[order, 3]
    moved = shape[order]
    moved[:, :4] *= ratio[:, None]
    moved[:, 5] *= ratio
    shuffled = np.full_like(bars, np.nan)
    shuffled[present] = moved
    return replace(series, bars=shuffled)


def check_for_leak(shuffled: Series, model: ModelSettings, evaluation: Evaluation) -> LeakCheck:
    """Evaluate on bars without order, as on any series."""
    first = lstm_alone(shuffled, model, evaluation)
    return LeakCheck(first.skill(LSTM), first.against(LSTM, PERSISTENCE).p_better)
