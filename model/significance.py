"""Is a difference more than chance? Diebold-Mariano for errors, Wilson for shares of hits.

Both read `Lagged` sums, which add up exactly: those of a month are those of its days together.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_Z95: Final = 1.959963984540054
# Where the count alone decides: autocorrelation beyond it comes from the overlap of horizons alone.
_MOST_LAGS: Final = 24
_RESAMPLES: Final = 2_000


@dataclass(frozen=True)
class DieboldMariano:
    """`statistic` is negative where the first forecaster errs less.

    `p_value` is two-sided; `p_better` is one-sided: how likely such a lead of the first forecaster
    is where neither is better.
    """

    statistic: float
    p_value: float
    p_better: float


@dataclass(frozen=True)
class Lagged:
    """Runs of values, each in order of time, as sums that add up: see `then`.

    `count` and `total` (n_runs,); `products` (n_runs, lags + 1), the sum of each value times the
    one so many earlier; `head` and `tail` (n_runs, lags), the first and the last values, zeros at
    the end of a short head and at the beginning of a short tail.
    """

    count: Floats
    total: Floats
    products: Floats
    head: Floats
    tail: Floats

    @classmethod
    def of(cls, values: Floats, run: Ints, n_runs: int, lags: int) -> Self:
        """Of `values` (n_values,) that belong to the runs of the numbers `run`, ascending."""
        place = np.arange(len(values))
        first = np.searchsorted(run, np.arange(n_runs + 1))
        products = np.zeros((n_runs, lags + 1))
        for lag in range(min(lags, len(values) - 1) + 1):
            same = run[lag:] == run[: len(run) - lag]
            pairs = values[lag:] * values[: len(values) - lag]
            products[:, lag] = np.bincount(run[lag:][same], pairs[same], n_runs)
        head, tail = np.zeros((n_runs, lags)), np.zeros((n_runs, lags))
        since, until = place - first[run], first[run + 1] - 1 - place
        head[run[since < lags], since[since < lags]] = values[since < lags]
        tail[run[until < lags], lags - 1 - until[until < lags]] = values[until < lags]
        count = np.bincount(run, minlength=n_runs).astype(np.float64)
        total = np.bincount(run, values, n_runs).astype(np.float64)
        return cls(count, total, products, head, tail)

    def then(self, later: Self) -> Self:
        """Each run with the one of the same place in `later` behind it."""
        lags = self.head.shape[1]
        products = self.products + later.products
        for lag in range(1, lags + 1):
            products[:, lag] += np.vecdot(later.head[:, :lag], self.tail[:, lags - lag :])
        place = np.arange(lags)
        own = np.minimum(self.count, lags).astype(int)[:, None]
        new = np.minimum(later.count, lags).astype(int)[:, None]
        heads = np.concatenate([self.head, later.head], axis=1)
        tails = np.concatenate([self.tail, later.tail], axis=1)
        head = np.take_along_axis(heads, np.where(place < own, place, lags + place - own), axis=1)
        kept = np.where(lags - place > new, place + new, lags + place)
        tail = np.take_along_axis(tails, kept, axis=1)
        return type(self)(self.count + later.count, self.total + later.total, products, head, tail)

    def autocovariances(self) -> Floats:
        """(n_runs, lags + 1), around the mean of each run, divided by its count."""
        lags = np.arange(self.products.shape[1])
        count = np.maximum(self.count, 1)[:, None]
        mean = self.total[:, None] / count
        zero = np.zeros((len(count), 1))
        first = np.concatenate([zero, np.cumsum(self.head, axis=1)], axis=1)
        last = np.concatenate([zero, np.cumsum(self.tail[:, ::-1], axis=1)], axis=1)
        centred = self.products - mean * (2 * self.total[:, None] - first - last)
        centred += np.maximum(count - lags, 0) * mean**2
        return np.asarray(np.where(lags < count, centred, 0.0) / count)


def lags_of(horizon: int) -> int:
    """How many lags `Lagged` must hold for forecasts of so many bars."""
    return max(_MOST_LAGS, 2 * (horizon - 1))


def diebold_mariano(loss: Floats, other_loss: Floats, horizon: int) -> DieboldMariano:
    """Compare the losses of two forecasters over the same windows, in order of time.

    >>> noise = np.random.default_rng(1).normal(size=500) ** 2
    >>> diebold_mariano(noise, noise + 0.1, horizon=1).p_better < 0.01
    True
    >>> diebold_mariano(noise, noise, horizon=1)
    DieboldMariano(statistic=0.0, p_value=1.0, p_better=1.0)
    """
    run = np.zeros(len(loss), np.int64)
    differences = Lagged.of(loss - other_loss, run, 1, lags_of(horizon))
    return DieboldMariano(*(float(values[0]) for values in compare_losses(differences, horizon)))


def compare_losses(differences: Lagged, horizon: int) -> tuple[Floats, Floats, Floats]:
    """Statistic, two-sided and one-sided p of Diebold and Mariano for each run of differences in
    loss: (n_runs,) each.

    Diebold and Mariano 1995, with the correction of Harvey, Leybourne and Newbold 1997 and
    Student's distribution, of as many degrees as there are windows that do not overlap. The
    variance counts the `horizon - 1` lags over which targets overlap in full; beyond, weights fall
    as Newey and West's, to the cube root of the count or twice the overlap, whichever is more:
    minutes of high volatility come together. Equal losses give 0 and p-values of 1.
    """
    count = differences.count
    covariances = differences.autocovariances()
    variance = _long_run_variance(covariances, count, horizon - 1)
    # Weights of 1 can give a variance of none at all in a short run.
    variance = np.where(variance > 0, variance, _long_run_variance(covariances, count, 0))
    # A lead that is always the same has no variance but what the sums round off.
    size = differences.products[:, 0] / np.maximum(count, 1)
    differ = (count >= 3) & (size > 0) & np.isfinite(size)
    safe, n = np.where(differ, np.maximum(variance, 1e-12 * size), 1.0), np.maximum(count, 3)
    small_sample = (n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n
    statistic = differences.total / n / np.sqrt(safe / n)
    statistic = np.where(differ, statistic * np.sqrt(np.maximum(small_sample, 1 / n)), 0.0)
    freedom = np.maximum(n / horizon - 1, 1)
    p_better = np.where(differ, stats.t.cdf(statistic, df=freedom), 1.0)
    two_sided = np.where(differ, 2 * np.minimum(p_better, 1 - p_better), 1.0)
    return statistic, two_sided, p_better


def _long_run_variance(covariances: Floats, count: Floats, overlap: int) -> Floats:
    """Variance of each run's mean, times its count: (n_runs,)."""
    lag = np.arange(covariances.shape[1])
    by_count = np.minimum(np.round(np.cbrt(count)), _MOST_LAGS)
    most = np.minimum(np.maximum(2 * overlap, by_count), np.maximum(count - 1, 0))[:, None]
    falling = 1 - np.maximum(lag - overlap, 0) / np.maximum(most - overlap + 1, 1)
    weights = np.where(lag <= most, np.maximum(falling, 0), 0.0) * np.where(lag == 0, 1, 2)
    return np.asarray((weights * covariances).sum(axis=1))


def independent_hits(signs: Lagged, horizon: int) -> Floats:
    """As how many independent forecasts of direction those of each run count: (n_runs,).

    `signs` are those that were forecast, 1 or -1, and 0 where no move came or none was forecast.
    Moves over the same bars come out alike: of two horizons of which a share `u` overlaps the signs
    of a random walk's moves correlate by 2 / pi asin(u). Forecasts that point the same way then hit
    or miss together. The count is what the variance of the hits, given the forecasts, says.
    """
    lag = np.arange(1, horizon)
    alike = 2 / np.pi * np.arcsin(1 - lag / horizon)
    moved = signs.products[:, 0]
    together = moved + 2 * signs.products[:, 1:horizon] @ alike
    return np.asarray(moved**2 / np.maximum(together, np.maximum(moved, 1)))


def wilson_interval(
    successes: Floats | float, count: Floats | float
) -> tuple[Floats | float, Floats | float]:
    """The 95 % interval of a share of independent cases (Wilson 1927); (0, 1) of none.

    >>> low, high = wilson_interval(50, 100)
    >>> round(float(low), 3), round(float(high), 3)
    (0.404, 0.596)
    """
    n, z2 = np.where(np.asarray(count) > 0, count, 1e-30), _Z95**2
    share = successes / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 * np.sqrt(share * (1 - share) / n + z2 / (4 * n**2)) / (1 + z2 / n)
    return np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)


def resampled_ratios(part: Floats, whole: Floats, length: int, seed: int) -> Floats:
    """Ratios of the sums of resampled values (n_resamples,), for their spread: blocks of `length`
    values that follow on one another, wrapped around the end (Politis and Romano 1992).

    >>> values = np.random.default_rng(1).normal(1.0, 1.0, 400)
    >>> np.quantile(resampled_ratios(values, np.ones(400), 7, seed=1), (0.025, 0.975)).round(1)
    array([0.9, 1. ])
    """
    count = len(part)
    length = min(length, count)
    blocks = -(-count // length)
    starts = np.random.default_rng(seed).integers(0, count, (_RESAMPLES, blocks))
    # The last block of each is cut, so that as many values are drawn as there are.
    lengths = np.append(np.full(blocks - 1, length), count - (blocks - 1) * length)

    def drawn(values: Floats) -> Floats:
        running = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values[:length]]))])
        sums: Floats = running[starts + lengths] - running[starts]
        return np.asarray(sums.sum(axis=1))

    total = drawn(whole)
    ratios: Floats = np.divide(drawn(part), total, out=np.zeros(_RESAMPLES), where=total > 0)
    return ratios
