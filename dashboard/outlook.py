"""How far the price may move, in numbers and in one sentence with the record of its model."""

import math
from collections.abc import Hashable, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from conf.shown import shown_length, shown_price
from conf.timeframes import TIMEFRAME_MS
from dashboard.api_types import Outlook, Record
from dashboard.overview import record_of
from model.distribution import exceedance
from model.intervals import QUANTILES
from model.promotion import NOTHING
from store.schema import LEAST_OF_A_WEEK

WEEK: Final = pd.Timedelta(days=7)


def outlooks(made: pd.DataFrame, board: pd.DataFrame | None, move: float) -> list[Outlook]:
    """One of each horizon of the newest prediction.

    `made` are the predictions of one series over a week or more, `board` the scoreboard; `move` is
    the share of the last price that `exceeds` is about.
    """
    if made.empty:
        return []
    newest = made["as_of"].max()
    rows = made[made["as_of"] == newest].sort_values(["horizon", "predicted_at"])
    found = []
    for row in rows.drop_duplicates("horizon", keep="last").to_dict("records"):
        record = None if board is None else record_at(board, row)
        before = made[(made["horizon"] == row["horizon"]) & (made["as_of"] < newest)]
        past = before.loc[before["as_of"] >= newest - WEEK, "scale"].dropna()
        found.append(_outlook(row, past, record, move))
    return found


def record_at(board: pd.DataFrame, of: Mapping[Hashable, Any]) -> Record | None:
    """The record, at its horizon, of the model that made the prediction `of`; None without one."""
    chosen = board
    for name in ("symbol", "interval", "model_version", "horizon"):
        chosen = chosen[chosen[name] == of[name]]
    return None if chosen.empty else record_of(chosen)


def livelier(scale: float, past: "pd.Series[float]") -> float | None:
    """The share of the last week's expected sizes of this series and horizon that were smaller.

    None where too few are known.
    """
    if len(past) < LEAST_OF_A_WEEK or not math.isfinite(scale):
        return None
    return float((past < scale).mean())


def _outlook(
    row: Mapping[Hashable, Any], past: "pd.Series[float]", record: Record | None, move: float
) -> Outlook:
    last, scale = row["last_close"], _number(row["scale"])
    quantiles: dict[str, Any] = {name: _number(row[name]) for name in QUANTILES}
    known = [price for price in quantiles.values() if price is not None]
    exceeds = None
    if len(known) == len(QUANTILES):
        exceeds = exceedance(np.log(np.array(known) / last), move)
    made: dict[str, Any] = {
        **{name: row[name] for name in ("symbol", "interval", "horizon", "last_close")},
        **{name: int(row[name].timestamp() * 1000) for name in ("as_of", "target_time")},
        **{name: row[name] for name in ("predicted_close", "lower", "upper", "coverage")},
        "model_version": row["model_version"],
        "proven": row["proven"] if isinstance(row["proven"], str) else None,
        "livelier": None if scale is None else livelier(scale, past),
    }
    found = Outlook(
        **made, **quantiles, scale=scale, move=move, exceeds=exceeds, record=record, sentence=""
    )
    return found.model_copy(update={"sentence": sentence(found)})


def sentence(one: Outlook) -> str:
    """All of it in one sentence, in which nothing is said that isn't known."""
    ahead = shown_length(one.horizon * TIMEFRAME_MS[one.interval] / 1000)
    parts = [
        f"in {ahead} {one.symbol} closes between {shown_price(one.lower)} and "
        f"{shown_price(one.upper)} with a probability of {one.coverage:.0%}"
    ]
    if one.scale is not None:
        parts.append(f"it moves by {one.scale:.2%} in the mean")
    if one.exceeds is not None:
        parts.append(f"by more than {one.move:.2%} with a probability of {one.exceeds:.1%}")
    if one.livelier is not None:
        is_lively = one.livelier >= 0.5
        share = one.livelier if is_lively else 1 - one.livelier
        parts.append(
            f"which is {'livelier' if is_lively else 'quieter'} than {share:.0%} of the last week"
        )
    text = ", ".join(parts)
    return f"{text[0].upper()}{text[1:]}; {_worth(one)}."


def _worth(one: Outlook) -> str:
    """What is proven of the model, and how its intervals did."""
    proven = {None: "was not judged in what it tells", NOTHING: "is proven in nothing yet"}
    model = f"{one.model_version} {proven.get(one.proven, f'is proven in {one.proven}')}"
    record = one.record
    if record is None or record.covered is None or record.promised is None:
        return f"{model}, and has no record yet"
    made = "made after the fact " if record.backfilled else ""
    return (
        f"{model}, and of {record.predictions:,} such intervals {made}{record.covered:.1%} held, "
        f"where {record.promised:.0%} are promised"
    )


def _number(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
