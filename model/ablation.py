"""Do the news help? The same walk-forward with them, without them, and with them in random order.

The three see the same bars, windows and settings. Where the news say something about the next bar,
the first errs less than both others; where they say nothing, it errs a little more, for it has more
to fit. Diebold-Mariano is strict here: the one model holds the other, so that without an effect
fewer than the nominal share are found (Clark and West 2007).
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from conf.sections import Evaluation
from model.layout import BAR_COLUMNS
from model.outcomes import LSTM
from model.planted import planted_series
from model.series import Series
from model.significance import diebold_mariano, resampled_ratios
from model.training import ModelSettings
from model.walk_forward import lstm_alone

Floats = NDArray[np.float64]
# Share of the variance of a return that the planted news explain.
_PLANTED_EFFECT: Final = 0.1
_PROOF_FOLDS: Final = {"folds": 2, "first_train_share": 0.6}
_WITHOUT_EFFECT_BARS: Final = 700
_COUNT: Final = BAR_COLUMNS  # the column of the count of articles


@dataclass(frozen=True)
class Comparison:
    """Skill of one forecaster less that of another over the same windows, at the first horizon.

    `low` and `high` are the ends of its 95 % interval (block bootstrap). `p_value` is two-sided
    (Diebold-Mariano), `p_better` one-sided: how likely such a lead is where there is none.
    """

    difference: float
    low: float
    high: float
    p_value: float
    p_better: float

    @property
    def is_better(self) -> bool:
        """Whether the first is better by more than chance, at a level of 5 %."""
        return self.p_better < 0.05


@dataclass(frozen=True)
class Ablation:
    """What the news bring to one series.

    `skills` against persistence by arm: "with", "without", "shuffled". `times` (n_windows,) are the
    closes of the last bars of the windows, epoch ms UTC; `gain` (n_windows,) is the squared error
    without news less that with them.
    """

    n_windows: int
    n_windows_with_news: int
    skills: dict[str, float]
    against_without: Comparison
    against_shuffled: Comparison
    times: NDArray[np.int64]
    gain: Floats


@dataclass(frozen=True)
class Proof:
    """What the ablation says of made-up series: one with an effect, several without.

    `found` of `seeds` series without an effect look as if they had one, at a level of 5 %.
    """

    effect: float
    planted: Ablation
    seeds: int
    found: int


def ablate(series: Series, model: ModelSettings, evaluation: Evaluation, seed: int) -> Ablation:
    """Walk forward through `series`, which has news, three times; `seed` shuffles."""
    arms = {
        "with": series,
        "without": series.reading(news=False, leaders=True),
        "shuffled": shuffled_news(series, seed),
    }
    first = {name: lstm_alone(arm, model, evaluation) for name, arm in arms.items()}
    horizon, actual, times = model.horizons[0], first["with"].actual, first["with"].time
    loss = {name: one.loss(LSTM) for name, one in first.items()}
    return Ablation(
        n_windows=len(times),
        n_windows_with_news=int(np.count_nonzero(series.bars[series.rows_closing(times), _COUNT])),
        skills={name: one.skill(LSTM) for name, one in first.items()},
        against_without=compare(loss["with"], loss["without"], actual, horizon, seed),
        against_shuffled=compare(loss["with"], loss["shuffled"], actual, horizon, seed),
        times=times,
        gain=loss["without"] - loss["with"],
    )


def news_against_none(
    series: Series, model: ModelSettings, evaluation: Evaluation, seed: int
) -> Comparison:
    """The two arms of `ablate` that say whether the news help at all, at two thirds of its cost."""
    with_news, without = (
        lstm_alone(arm, model, evaluation)
        for arm in (series, series.reading(news=False, leaders=True))
    )
    losses = with_news.loss(LSTM), without.loss(LSTM)
    return compare(*losses, with_news.actual, model.horizons[0], seed)


def prove(model: ModelSettings, evaluation: Evaluation, seeds: int) -> Proof:
    """Run the ablation on made-up series, where the truth is known; `seeds` hold no effect."""
    evaluation = evaluation.model_copy(update=_PROOF_FOLDS)
    planted = ablate(planted_series(0, _PLANTED_EFFECT), model, evaluation, 0)
    without = (
        news_against_none(planted_series(seed, 0.0, _WITHOUT_EFFECT_BARS), model, evaluation, seed)
        for seed in range(1, seeds + 1)
    )
    return Proof(_PLANTED_EFFECT, planted, seeds, sum(one.is_better for one in without))


def repeated(
    series: Series, model: ModelSettings, evaluation: Evaluation, runs: int
) -> list[Ablation]:
    """The ablation of one series from several seeds, the settings' own first."""
    found = []
    first = model.training.seed
    for seed in range(first, first + runs):
        training = model.training.model_copy(update={"seed": seed})
        found.append(ablate(series, replace(model, training=training), evaluation, seed))
    return found


def compare(loss: Floats, other: Floats, actual: Floats, horizon: int, seed: int) -> Comparison:
    """Compare squared errors (n_windows,) of two forecasters of the log returns `actual`.

    >>> actual, noise = np.random.default_rng(1).normal(size=(2, 400))
    >>> found = compare((0.5 * actual) ** 2, actual**2, actual, 1, seed=1)
    >>> round(found.difference, 2), found.low > 0.7, found.p_better < 0.01
    (0.75, True, True)
    """
    test = diebold_mariano(loss, other, horizon)
    length = max(1, round(len(actual) ** (1 / 3)))
    differences = resampled_ratios(other - loss, actual**2, length, seed)
    low, high = np.quantile(differences, (0.025, 0.975))
    return Comparison(
        float(np.sum(other - loss) / np.sum(actual**2)),
        float(low),
        float(high),
        test.p_value,
        test.p_better,
    )


def shuffled_news(series: Series, seed: int) -> Series:
    """The series with the news of its bars in random order, from the first bar with news to the
    last: all that news may say about time is gone, their distribution stays."""
    bars = series.bars.copy()
    (with_news,) = np.nonzero(bars[:, _COUNT])
    if len(with_news):
        part = bars[with_news[0] : with_news[-1] + 1, BAR_COLUMNS:]
        part[:] = np.random.default_rng(seed).permutation(part)
    return replace(series, bars=bars)
