"""How far two samples of one distribution are apart, and whether that is more than usual.

Population stability index over tenths of the training range: the sum of (now - then) ln(now / then)
of their shares. A day is not a sample of independent bars: in a market that does not change its
index is what the days of the training range differ from one another. Beyond what that leads to
expect of one more day, and beyond `score.psi_alarm`, a distribution has drifted.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
BINS: Final = 10
# Shares of fewer values are noise: PSI of 10 bins then exceeds 0.1 by chance.
MIN_VALUES: Final = 300
# The range is cut into so many parts at least, however short it is.
MIN_PARTS: Final = 8
# Of days that do not differ, the share that each distribution may exceed its bound in.
CHANCE: Final = 0.002
# An empty bin would make the index infinite.
_SMALLEST_SHARE: Final = 1e-4


@dataclass(frozen=True)
class Reference:
    """One distribution of the training range: the `edges` between its tenths, their `shares`, and
    the index that `count` values of a market that has not changed stay below."""

    edges: list[float]
    shares: list[float]
    bound: float
    count: float

    @classmethod
    def of(cls, values: Floats, part: Ints, share_of_now: float = 1.0) -> Self:
        """Of values (n,), each in the part of the range with that number; a part is as long as
        `share_of_now` of what will be compared.

        The index of a part against all falls with its length, and is log-normal enough: the bound
        is the prediction limit of one more.
        """
        edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
        shares = _shares(edges, values)
        parts = [values[part == one] for one in np.unique(part)]
        typical = float(np.median([len(one) for one in parts]))
        found = [_index(shares, _shares(edges, one)) for one in parts if len(one) > typical / 2]
        n = len(found)
        if n < MIN_PARTS // 2:
            return cls(edges.tolist(), shares.tolist(), float("inf"), typical)
        logs = np.log(np.maximum(found, 1e-9))
        far = stats.t.ppf(1 - CHANCE, n - 1) * logs.std(ddof=1) * np.sqrt(1 + 1 / n)
        bound = float(np.exp(logs.mean() + far) * min(share_of_now, 1.0))
        return cls(edges.tolist(), shares.tolist(), bound, typical / min(share_of_now, 1.0))

    def verdict(self, values: Floats, watch: float, alarm: float) -> tuple[float, str]:
        """The index and what to think of it."""
        if len(values) < MIN_VALUES:
            return float("nan"), "too few values"
        psi = _index(np.array(self.shares), _shares(np.array(self.edges), values))
        drifted = psi > max(alarm, self.bound * max(1.0, self.count / len(values)))
        return psi, "drifted" if drifted else "watch" if psi > watch else "stable"


def _shares(edges: Floats, values: Floats) -> Floats:
    found = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) / len(values)
    return np.maximum(found, _SMALLEST_SHARE)


def _index(then: Floats, now: Floats) -> float:
    return float(np.sum((now - then) * np.log(now / then)))
