"""The bars of a series' leaders: columns beside its own, of the same times."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from model.layout import BAR_COLUMNS
from model.series import Series

Floats = NDArray[np.float64]


def with_leaders(
    series: Sequence[Series],
    leaders_of: Callable[[str], Sequence[str | None]],
    others: Sequence[Series] = (),
) -> list[Series]:
    """Each of `series` with the bars of its leaders, which are among them or `others`.

    `leaders_of` as `Market.of`. A leader without a series has no bar at any time.
    """
    by_name = {one.symbol: one for one in (*others, *series)}
    return [_led(one, tuple(leaders_of(one.symbol)), by_name) for one in series]


def _led(series: Series, leaders: tuple[str | None, ...], by_name: dict[str, Series]) -> Series:
    if not leaders:
        return series
    times = series.close_times(np.arange(len(series.bars)))
    columns = [_bars_closing(by_name.get(name or ""), times) for name in leaders]
    return replace(series, bars=np.concatenate([series.bars, *columns], axis=1), leaders=leaders)


def _bars_closing(leader: Series | None, times: NDArray[np.int64]) -> Floats:
    """Its own bars that close at these times (n, 6), NaN where there is none."""
    bars = np.full((len(times), BAR_COLUMNS), np.nan)
    if leader is not None:
        rows = leader.rows_closing(times)
        there = (rows >= 0) & (rows < len(leader.bars))
        bars[there] = leader.bars[rows[there], :BAR_COLUMNS]
    return bars
