"""What lies on a topic, and when it could be read there.

The broker stamps each record when it appends it (LogAppendTime), which with one broker is when
consumers may read it: one clock for all contenders, to the millisecond.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from bench.series import HORIZONS
from conf.errors import CandlecastError
from ingest.cursor import records_since

# Of the same prices: a float32 network fed with the same window, whatever adds up its sums. The
# wrong window of this random walk moves the price 100 times as far.
TOLERANCE: Final = 1e-6
IDENTITY: Final = ["symbol", "as_of", "horizon"]


class PredictionsDiffer(CandlecastError):
    """A contender predicts something else than our job; the message says where."""


def read_outputs(broker: str, topic: str, since_ms: int = 0) -> Iterator[tuple[Any, int]]:
    """Each JSON message on a topic from a time of the broker's on, and its time, both epoch ms."""
    for record in records_since(broker, topic, since_ms):
        yield json.loads(record.value), record.timestamp


def require_same(broker: str, output: str, predictions_table: Path) -> int:
    """Compare every prediction on a contender's topic with our job's; return how many there are.

    Raises PredictionsDiffer.
    """
    rows = [
        (value["symbol"], value["as_of"], horizon, close)
        for value, _ in read_outputs(broker, output)
        for horizon, close in zip(HORIZONS, value["predicted_close"], strict=True)
    ]
    theirs = pd.DataFrame(rows, columns=[*IDENTITY, "predicted_close"]).drop_duplicates(IDENTITY)
    ours = pd.read_parquet(predictions_table, columns=[*IDENTITY, "predicted_close"])
    ours["as_of"] = ours["as_of"].astype("datetime64[ms, UTC]").astype("int64")
    both = theirs.merge(ours, "left", IDENTITY, suffixes=("", "_ours"))
    away = np.abs(both["predicted_close"] / both["predicted_close_ours"] - 1)
    wrong = both[~(away < TOLERANCE)]
    if len(wrong) or not len(both):
        raise PredictionsDiffer(
            f"{output}: {len(wrong)} of {len(both)} predictions differ from ours, the first: "
            f"{wrong.head(1).to_dict('records')}"
        )
    return len(both)
