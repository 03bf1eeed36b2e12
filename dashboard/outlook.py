"""How far the price may move, in numbers and in one sentence with the record of its model."""

import math
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from conf.shown import shown_length, shown_price
from conf.timeframes import TIMEFRAME_MS
from dashboard.api_types import Outlook, Record
from dashboard.overview import record_of
from dashboard.tables import Tables
from model.distribution import exceedance
from model.intervals import QUANTILES
from model.promotion import NOTHING
from store.schema import DISTRIBUTION


def outlooks(tables: Tables, symbol: str, timeframe: str, move: float) -> list[Outlook]:
    """One of each horizon of the newest prediction of a series; `move` is the share of the last
    price that `exceeds` is about."""
    rows, board = tables.outlook(symbol, timeframe), tables.scores()
    return [
        _outlook(row, None if board is None else record_at(board, row), move)
        for row in rows.to_dict("records")
    ]


def record_at(board: pd.DataFrame, of: Mapping[Hashable, Any]) -> Record | None:
    """The record, at its horizon, of the model that made the prediction `of`; None without one."""
    chosen = board
    for name in ("symbol", "interval", "model_version", "horizon"):
        chosen = chosen[chosen[name] == of[name]]
    return None if chosen.empty else record_of(chosen)


def _outlook(row: Mapping[Hashable, Any], record: Record | None, move: float) -> Outlook:
    optional = {name: _number(row[name]) for name in (*DISTRIBUTION, "livelier")}
    known = [optional[name] for name in QUANTILES if optional[name] is not None]
    exceeds = None
    if len(known) == len(QUANTILES):
        exceeds = exceedance(np.log(np.array(known) / row["last_close"]), move)
    made: dict[str, Any] = {str(name): value for name, value in row.items()} | optional
    made |= {name: int(row[name].timestamp() * 1000) for name in ("as_of", "target_time")}
    made["proven"] = row["proven"] if isinstance(row["proven"], str) else None
    found = Outlook(**made, move=move, exceeds=exceeds, record=record, sentence="")
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
