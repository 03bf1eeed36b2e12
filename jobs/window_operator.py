"""The stateful operator of the stream: checked bars in, windows to predict and rows to keep out."""

from collections.abc import Iterable, Iterator
from typing import Any, Final, cast

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql.streaming import StatefulProcessor, StatefulProcessorHandle
from pyspark.sql.types import (
    BinaryType,
    DataType,
    DoubleType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
)

from conf.intervals import INTERVAL_MS
from jobs.windows import Emission, NewBars, Shard

VALUES: Final = ["open", "high", "low", "close", "base_volume", "quote_volume"]

BAR: Final = "bar"
WINDOWS: Final = "windows"
SKIPPED: Final = "skipped"
REJECTED: Final = "rejected"

# One shape for the four kinds of row that leave the operator, since an operator has one output:
#   bar       a good message as it came                     time = open_time
#   windows   a series' bars (payload) and window ends      time = open_time of the first bar
#   skipped   a bar whose window is not complete, reason    time = close_time of that bar
#   rejected  a message that breaks a rule, reason, place   payload = its beginning
OUTPUT: Final[dict[str, DataType]] = {
    "kind": StringType(),
    "symbol": StringType(),
    "interval": StringType(),
    "time": LongType(),
    **{name: DoubleType() for name in VALUES},
    "source": StringType(),
    "fetched_at": LongType(),
    "reason": StringType(),
    "topic": StringType(),
    "partition": IntegerType(),
    "offset": LongType(),
    "payload": BinaryType(),
    "ends": BinaryType(),
}
_EMPTY: Final[dict[type[DataType], float]] = {LongType: 0, IntegerType: 0, DoubleType: np.nan}


def with_windows(bars: DataFrame, lookback: int, late_bars: int, shards: int) -> DataFrame:
    """Run the operator over the output of `read_messages`, grouped by its column `shard`."""
    return bars.groupBy("shard").transformWithStateInPandas(
        statefulProcessor=ShardWindows(lookback, late_bars, shards),
        outputStructType=StructType([StructField(name, kind) for name, kind in OUTPUT.items()]),
        outputMode="append",
        timeMode="none",
    )


class ShardWindows(StatefulProcessor):
    """Keeps the window state of the shards and emits each window once, when it is complete."""

    def __init__(self, lookback: int, late_bars: int, shards: int) -> None:
        self._settings = (lookback, late_bars, shards)

    def init(self, handle: StatefulProcessorHandle) -> None:
        """Called by Spark on the worker before any rows."""
        schema = StructType([StructField("shard", BinaryType())])
        self._state = handle.getValueState("shard", schema)

    def handleInputRows(  # type: ignore[override]  # noqa: N802 - Spark's name
        self,
        key: Any,
        rows: Iterator[pd.DataFrame],
        timerValues: Any,  # noqa: N803
    ) -> Iterator[pd.DataFrame]:
        """Called by Spark once a shard and micro-batch, with all its rows."""
        messages = pd.concat(list(rows), ignore_index=True)
        good = messages["reason"].isna()
        bars, rejected = messages[good], messages[~good]
        if len(rejected):
            columns = ["symbol", "interval", "reason", "topic", "partition", "offset", "payload"]
            yield frame(REJECTED, len(rejected), rejected[columns])
        if len(bars):
            columns = ["symbol", "interval", *VALUES, "source", "fetched_at"]
            yield frame(BAR, len(bars), bars[columns].assign(time=bars["open_time"]))
            yield from self._advance(bars)

    def close(self) -> None:
        """Called by Spark on the worker at the end."""

    def _advance(self, bars: pd.DataFrame) -> Iterator[pd.DataFrame]:
        held = self._state.get()
        shard = (
            Shard.from_bytes(bytes(held[0]), *self._settings) if held else Shard(*self._settings)
        )
        emitted = [
            (series, emission)
            for series, new in new_bars(bars)
            for emission in shard.update(series, new)
        ]
        self._state.update((shard.to_bytes(),))
        yield from emission_frames(emitted)


def new_bars(bars: pd.DataFrame) -> Iterator[tuple[tuple[str, str], NewBars]]:
    """Split messages into series, in order of time; of several for a slot the newest counts."""
    open_time = bars["open_time"].to_numpy()
    fetched_at = bars["fetched_at"].to_numpy()
    offset = bars["offset"].to_numpy()
    values = bars[VALUES].to_numpy(np.float64)
    groups = bars.groupby(["symbol", "interval"], sort=False).indices
    for series, rows in cast("dict[tuple[str, str], Any]", groups).items():
        slots = open_time[rows] // INTERVAL_MS[series[1]]
        order = np.lexsort((offset[rows], fetched_at[rows], slots))
        last = np.append(np.diff(slots[order]) > 0, True)
        keep = rows[order[last]]
        yield series, NewBars(slots[order[last]], values[keep], fetched_at[keep])


def emission_frames(emitted: Iterable[tuple[tuple[str, str], Emission]]) -> Iterator[pd.DataFrame]:
    """The rows of kind `windows` and `skipped` for what the series emitted."""
    windows, skipped = [], []
    for (symbol, interval), emission in emitted:
        length = INTERVAL_MS[interval]
        if len(emission.ends):
            bars, ends = emission.bars.tobytes(), emission.ends.tobytes()
            windows.append((symbol, interval, emission.first_slot * length, bars, ends))
        skipped += [
            (symbol, interval, (slot + 1) * length, reason) for slot, reason in emission.skipped
        ]
    if windows:
        columns = ["symbol", "interval", "time", "payload", "ends"]
        yield frame(WINDOWS, len(windows), pd.DataFrame(windows, columns=columns))
    if skipped:
        columns = ["symbol", "interval", "time", "reason"]
        yield frame(SKIPPED, len(skipped), pd.DataFrame(skipped, columns=columns))


def frame(kind: str, rows: int, columns: pd.DataFrame) -> pd.DataFrame:
    """`columns` in the operator's output shape, the others empty."""
    given = columns.reset_index(drop=True)
    return pd.DataFrame(
        {
            name: kind
            if name == "kind"
            else given.get(name, pd.Series([_EMPTY.get(type(type_))] * rows))
            for name, type_ in OUTPUT.items()
        }
    )
