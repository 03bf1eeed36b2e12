"""Was it right, over time: skill and coverage of one series in stretches, each with its error."""

import math
from dataclasses import asdict
from typing import Final

import numpy as np
import pandas as pd

from conf.timeframes import TIMEFRAME_MS
from dashboard.api_types import Bucket, History, Paid
from dashboard.overview import verdict
from dashboard.tables import Tables
from model.distribution import pit
from model.intervals import QUANTILES
from model.outcomes import LSTM, PERSISTENCE, Outcomes
from model.paid import would_have_paid

# As many stretches as a phone can show.
STRETCHES: Final = 24
# A stretch with fewer outcomes says nothing of skill.
FEWEST: Final = 30
Z95: Final = 1.959964

_REVEALED: Final = f"""
SELECT epoch_ms(as_of) AS as_of, last_close, actual_return, predicted_return, coverage, covered,
       actual_close < lower AS below, backfilled, actual_close, {", ".join(QUANTILES)}
FROM scored
WHERE symbol = $symbol AND interval = $interval AND horizon = $horizon
  AND as_of >= make_timestamp($since::BIGINT * 1000)
QUALIFY row_number() OVER (PARTITION BY as_of, backfilled ORDER BY predicted_at) = 1
ORDER BY as_of
"""


def read_history(
    tables: Tables, symbol: str, timeframe: str, horizon: int, since_ms: int, fee_bp: float
) -> History:
    """The outcomes of predictions from bars that closed after `since_ms` (epoch ms, UTC);
    `fee_bp` is what the venue usually takes of one side of a trade."""
    values = {"symbol": symbol, "interval": timeframe, "horizon": horizon, "since": since_ms}
    since = dict.fromkeys(("bars", "predictions"), since_ms)
    found = tables.rows(_REVEALED, since, values)
    live = found[~found["backfilled"].astype(bool)]
    rows = found if live.empty else live
    if rows.empty:
        return History(
            promised=None,
            whole=None,
            verdict="early",
            backfilled=False,
            buckets=[],
            pit=None,
            paid=None,
        )
    first, last = int(rows["as_of"].iloc[0]), int(rows["as_of"].iloc[-1])
    bar = TIMEFRAME_MS[timeframe]
    length = max(bar, -(-(last - first + bar) // STRETCHES // bar) * bar)
    places = (rows["as_of"] - first) // length
    buckets = [_bucket(part, horizon) for _, part in rows.groupby(places)]
    whole = _bucket(rows, horizon)
    return History(
        promised=float(rows["coverage"].mean()),
        whole=whole,
        verdict=_verdict(whole),
        backfilled=live.empty,
        buckets=buckets,
        pit=_pit(rows),
        paid=_paid(_outcomes(rows, horizon), fee_bp),
    )


def _pit(rows: pd.DataFrame) -> list[float] | None:
    """The shares of prices between the quantiles, where those are known."""
    told = rows.dropna(subset=list(QUANTILES))
    if told.empty:
        return None
    parts = pit(told["actual_close"].to_numpy(float), told[list(QUANTILES)].to_numpy(float))
    shares: list[float] = (np.bincount(parts, minlength=len(QUANTILES) + 1) / len(told)).tolist()
    return shares


def _paid(outcomes: Outcomes, fee_bp: float) -> Paid:
    found = would_have_paid(outcomes, LSTM)
    figures = {name: None if math.isnan(x) else x for name, x in asdict(found).items()}
    return Paid.model_validate({**figures, "fee_bp": fee_bp, "sentence": found.sentence(fee_bp)})


def _verdict(whole: Bucket) -> str:
    """Better or worse where the interval of the skill leaves 0 out."""
    if whole.skill is None or whole.skill_low is None or whole.skill_high is None:
        return "early"
    leaves_out = whole.skill_low > 0 or whole.skill_high < 0
    return verdict(whole.skill, 0.0 if leaves_out else 1.0)


def _outcomes(rows: pd.DataFrame, horizon: int) -> Outcomes:
    count = len(rows)
    return Outcomes(
        symbol=np.full(count, ""),
        time=rows["as_of"].to_numpy(np.int64),
        horizon=np.full(count, horizon),
        last_close=rows["last_close"].to_numpy(float),
        actual=rows["actual_return"].to_numpy(float),
        forecasts={LSTM: rows["predicted_return"].to_numpy(float)},
        scale=np.full(count, math.nan),
        trailing=np.full(count, math.nan),
    )


def _bucket(rows: pd.DataFrame, horizon: int) -> Bucket:
    count, outcomes = len(rows), _outcomes(rows, horizon)
    skill = outcomes.skill(LSTM)
    statistic = abs(outcomes.against(LSTM, PERSISTENCE).statistic)
    told = count >= FEWEST and statistic > 0 and math.isfinite(skill)
    # The statistic is the mean lead over its standard error; the skill is in proportion to it.
    half = Z95 * abs(skill) / statistic if told else None
    inside, below = float(rows["covered"].mean()), float(rows["below"].mean())
    return Bucket(
        since=int(rows["as_of"].iloc[0]),
        until=int(rows["as_of"].iloc[-1]),
        predictions=count,
        skill=skill if told else None,
        skill_low=None if half is None else skill - half,
        skill_high=None if half is None else skill + half,
        below=below,
        inside=inside,
        above=max(0.0, 1 - inside - below),
    )
