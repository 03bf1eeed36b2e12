"""The stateful operator of the stream: checked bars in, windows to predict and rows to keep out."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql.streaming import StatefulProcessor, StatefulProcessorHandle
from pyspark.sql.types import BinaryType, StructField, StructType

from conf.intervals import INTERVAL_MS
from conf.settings import Window
from jobs.packed import PACKED, pack
from jobs.shard_state import Shard
from jobs.windows import Emission, NewBars, Rings
from model.packed import constant, from_bytes, to_bytes

VALUES: Final = ["open", "high", "low", "close", "base_volume", "quote_volume"]

BARS: Final = "bars"
WINDOWS: Final = "windows"
SKIPPED: Final = "skipped"
REJECTED: Final = "rejected"

# One shape for what leaves the operator, since an operator has one output. A row holds many:
#   bars      good messages as they came
#   windows   windows that became complete at the interval `label`: symbol, as_of, end; `bars` holds
#             their bars, float64 bytes of (n_bars, 6), and `end` is a window's last row there
#   skipped   bars whose window is not complete, for the reason `label` (model.serve.ABSTAINED)
#   rejected  messages that break a rule, with reason and place
OUTPUT: Final = f"kind string, label string, rows long, {PACKED} binary, bars binary"
BAR_COLUMNS: Final = ["symbol", "interval", "open_time", *VALUES, "source", "fetched_at"]
REJECTED_COLUMNS: Final = ["reason", "topic", "partition", "offset", "payload"]

_DAY_MS: Final = 86_400_000
Row = tuple[str, str | None, int, bytes, bytes | None]


def with_windows(bars: DataFrame, window: Window, forget_after_days: float) -> DataFrame:
    """Run the operator over the output of `read_messages`, shard by shard."""
    return (
        pack(bars, by="shard")
        .groupBy("shard")
        .transformWithStateInPandas(
            statefulProcessor=ShardWindows(window, forget_after_days),
            outputStructType=OUTPUT,
            outputMode="append",
            timeMode="none",
        )
    )


class ShardWindows(StatefulProcessor):
    """Keeps the window state of the shards and emits each window once, when it is complete."""

    def __init__(self, window: Window, forget_after_days: float) -> None:
        self._settings = (window.lookback, window.late_bars, window.shards)
        self._silent_ms = round(forget_after_days * _DAY_MS)

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
        packed = [value for frame in rows for value in frame[PACKED]]
        messages = pa.concat_tables([from_bytes(value) for value in packed])
        is_bar = pc.is_null(messages["reason"])
        bars = messages.filter(is_bar)
        found: list[Row] = []
        if len(bars) < len(messages):
            found.append(row(REJECTED, messages.filter(pc.invert(is_bar)).select(REJECTED_COLUMNS)))
        if len(bars):
            found.append(row(BARS, bars.select(BAR_COLUMNS)))
            found += self._advance(bars)
        yield pd.DataFrame(found, columns=["kind", "label", "rows", PACKED, "bars"])

    def close(self) -> None:
        """Called by Spark on the worker at the end."""

    def _advance(self, bars: pa.Table) -> Iterator[Row]:
        held = self._state.get()
        shard = (
            Shard.from_bytes(bytes(held[0]), *self._settings) if held else Shard(*self._settings)
        )
        heard_at = pc.max(bars["arrived_at"]).as_py()
        for interval in pc.unique(bars["interval"]).to_pylist():
            of_interval = bars.filter(pc.equal(bars["interval"], interval))
            rings = shard.of(interval)
            emission = rings.update(new_bars(of_interval, INTERVAL_MS[interval], heard_at))
            yield from emission_rows(interval, rings, emission)
        shard.forget_silent(heard_at, self._silent_ms)
        self._state.update((shard.to_bytes(),))


def new_bars(bars: pa.Table, interval_ms: int, heard_at: int) -> NewBars:
    """Put messages of one interval in order; of several for a slot the newest counts."""
    names = bars["symbol"].combine_chunks().dictionary_encode()
    symbol = names.indices.to_numpy().astype(np.int64)
    slots = bars["open_time"].to_numpy() // interval_ms
    fetched_at = bars["fetched_at"].to_numpy()
    order = np.lexsort((bars["offset"].to_numpy(), fetched_at, slots, symbol))
    last = np.append((np.diff(symbol[order]) != 0) | (np.diff(slots[order]) != 0), True)
    keep = order[last]
    values = np.stack([bars[name].to_numpy()[keep] for name in VALUES], axis=1)
    return NewBars(
        names.dictionary.to_pylist(), symbol[keep], slots[keep], values, fetched_at[keep], heard_at
    )


def emission_rows(interval: str, rings: Rings, emission: Emission) -> Iterator[Row]:
    """The rows of kind `windows` and `skipped` for what the series of an interval emitted."""
    length = INTERVAL_MS[interval]
    names = pa.array(rings.symbols, pa.string())
    if len(emission.ends):
        windows = {
            "symbol": names.take(pa.array(emission.rows)),
            "as_of": pa.array((emission.slots + 1) * length),
            "end": pa.array(emission.ends),
        }
        yield row(WINDOWS, pa.table(windows), interval, emission.bars.tobytes())
    for reason, (rows, slots) in emission.skipped.items():
        if len(rows):
            skipped = {
                "symbol": names.take(pa.array(rows)),
                "interval": constant(interval, len(rows)),
                "as_of": pa.array((slots + 1) * length),
                "reason": constant(reason, len(rows)),
            }
            yield row(SKIPPED, pa.table(skipped), reason)


def row(kind: str, table: pa.Table, label: str | None = None, bars: bytes | None = None) -> Row:
    """A row in the operator's output shape."""
    return kind, label, len(table), to_bytes(table), bars
