"""What a micro-batch brought a shard, as one table: bars, and what is known of their leaders.

The shard store keeps it, and a worker that starts anew takes it in again: all that decides what
becomes of a micro-batch is in here.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model.series import VALUES
from stream.state.rings import NewBars, runs

# What `Shard.take` reads of a bar.
CHANGE_SCHEMA: Final = pa.schema(
    [
        ("symbol", pa.string()),
        ("interval", pa.string()),
        ("open_time", pa.int64()),
        *((name, pa.float64()) for name in VALUES),
        ("fetched_at", pa.int64()),
        ("offset", pa.int64()),
        ("arrived_at", pa.int64()),
    ]
)
CHANGE_COLUMNS: Final = CHANGE_SCHEMA.names
# The partition of a series' own bar: nobody asks for it.
_OWN: Final = -1
_META: Final = b"candlecast"


class WakeUp(NamedTuple):
    """A wake-up as it was read: what arrived so long before `until` as it may wait has waited.

    until: epoch ms of the topic's messages. partitions: how many the topic had.
    """

    partition: int
    offset: int
    until: int
    partitions: int


@dataclass(frozen=True)
class Arrived:
    """What of the leaders a micro-batch brought to a shard.

    copies: their bars, with `partition`. wanted: the timeframes whose model reads leaders.
    """

    copies: pa.Table
    wake_ups: Sequence[WakeUp]
    wanted: frozenset[str]
    wait_ms: int


def change_of(bars: pa.Table, arrived: Arrived) -> pa.Table:
    """What a micro-batch brought as one table, the copies with their partition behind the bars."""
    own = bars.append_column("partition", pa.array(np.full(len(bars), _OWN, np.int32)))
    said = {
        "wake_ups": arrived.wake_ups,
        "wanted": sorted(arrived.wanted),
        "wait_ms": arrived.wait_ms,
    }
    both = pa.concat_tables([own, arrived.copies.select(own.column_names)])
    return both.replace_schema_metadata({_META: json.dumps(said)})


def of_change(change: pa.Table) -> tuple[pa.Table, Arrived]:
    """What `change_of` was given."""
    said = json.loads(change.schema.metadata[_META])
    change = change.replace_schema_metadata(None)
    is_own = pc.equal(change["partition"], _OWN)
    wake_ups = [WakeUp(*one) for one in said["wake_ups"]]
    copies = change.filter(pc.invert(is_own))
    arrived = Arrived(copies, wake_ups, frozenset(said["wanted"]), said["wait_ms"])
    return change.filter(is_own).drop_columns("partition"), arrived


def new_bars(bars: pa.Table, bar_ms: int, newest_arrival: int) -> NewBars:
    """Put messages of one interval in order; of several for a slot the newest counts."""
    names = bars["symbol"].combine_chunks().dictionary_encode()
    symbol = names.indices.to_numpy().astype(np.int64)
    slots = bars["open_time"].to_numpy() // bar_ms
    fetched_at = bars["fetched_at"].to_numpy()
    order = np.lexsort((bars["offset"].to_numpy(), fetched_at, slots, symbol))
    new_symbol = np.diff(symbol[order], prepend=-1) != 0
    _, lasts = runs(new_symbol | (np.diff(slots[order], prepend=-1) != 0))
    keep = order[lasts]
    values = np.stack([bars[name].to_numpy()[keep] for name in VALUES], axis=1)
    return NewBars(
        names.dictionary.to_pylist(),
        symbol[keep],
        slots[keep],
        values,
        fetched_at[keep],
        newest_arrival,
    )
