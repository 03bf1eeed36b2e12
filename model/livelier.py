"""Is what comes livelier than usual? How often that is said rightly, beside trailing volatility.

What comes is the realised volatility of the next bars, what is usual its median over the last week;
a forecast says yes where the size that it expects lies above the median of those of its own week.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conf.timeframes import WEEK_MS
from model.outcomes import LSTM, Floats, Outcomes
from model.series import Series
from model.size import LEAST_OF_A_WEEK
from model.volatility import TRAILING


def said_rightly(series: Series, here: Outcomes, since_ms: int) -> dict[str, float]:
    """The share of windows from `since_ms` on of which the LSTM, and trailing volatility, says
    rightly whether the bars to the horizon, that of all of `here`, are livelier than usual.

    The windows of `here` before that (epoch ms UTC) say what is usual, too. NaN where no week is
    known.
    """
    horizon = int(here.horizon.max(initial=1))
    returns = np.diff(np.log(series.close), prepend=np.nan)
    before = pd.Series(returns**2).rolling(horizon).mean().to_numpy() ** 0.5
    usual = _week_median(before, series.close_times(np.arange(len(before))))
    at = series.rows_closing(here.time)
    come = before[at + horizon]
    known = np.isfinite(come) & np.isfinite(usual[at]) & (here.time >= since_ms)
    found = {}
    for name, sizes in ((LSTM, here.scale), (TRAILING, here.trailing)):
        own = _week_median(sizes, here.time)
        right = ((sizes > own) == (come > usual[at]))[known & np.isfinite(own)]
        found[name] = float(right.mean()) if len(right) else float("nan")
    return found


def _week_median(values: Floats, times: NDArray[np.int64]) -> Any:
    """Of each value the median of the week up to it, (n,); NaN where fewer than so many are."""
    week = pd.Series(values, pd.to_datetime(times, unit="ms")).rolling(
        pd.Timedelta(WEEK_MS, "ms"), min_periods=LEAST_OF_A_WEEK
    )
    return week.median().to_numpy()
