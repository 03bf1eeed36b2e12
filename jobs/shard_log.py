"""A shard in Spark's state store: a snapshot and the bars since, with a copy in this process.

A minute changes a hundredth of a shard, so that not the shard is written but the bars that came:

    in the store   head        the names of the snapshot and of each change since, oldest first
                   shard       the snapshot
                   changes     by name: the bars that one micro-batch brought
    in memory      the shard, and the name of the last change in it

A worker whose copy is named in the head takes in the changes that came after it; any other reads
the snapshot and all changes. A change's name is the hash of its bars and of the name before it, and
so says all that the shard has taken in: the copy of an attempt that Spark never committed is named
nowhere, unless the same bars came again, and a micro-batch that is repeated writes the same bytes.
"""

import struct
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import pyarrow as pa
from pyspark.sql.streaming import StatefulProcessorHandle
from pyspark.sql.types import BinaryType, StructField, StructType

from jobs.shard_state import CHANGE_COLUMNS, Advance, Shard
from model.packed import from_bytes, to_bytes

# The changes grow to so many times the snapshot before the next one: of a hundred micro-batches of
# a minute each, one writes the whole shard, and a start reads three times its size.
CHANGES_A_SNAPSHOT: Final = 2

_VALUE: Final = StructType([StructField("value", BinaryType())])
_SHARD: Final = StructType([StructField("shard", BinaryType())])
_NAME: Final = StructType([StructField("name", BinaryType())])
_BYTES: Final = struct.Struct("<Q")  # of all changes; the names follow
_NAME_LENGTH: Final = 16
# By shard: the name of the last change in this process's copy, and the copy.
_copies: dict[int, tuple[bytes, Shard]] = {}


@dataclass(frozen=True)
class ShardSettings:
    """Of the window state: what a shard is made with, and how long a silent series is kept."""

    lookback: int
    late_bars: int
    shards: int
    silent_ms: int


class ShardLog:
    """The shards of one task; Spark says in whose key's name each call reads and writes."""

    def __init__(self, handle: StatefulProcessorHandle, settings: ShardSettings) -> None:
        self._settings = settings
        self._head = handle.getValueState("head", _VALUE)
        self._snapshot = handle.getValueState("shard", _SHARD)
        self._changes = handle.getMapState("changes", _NAME, _VALUE)

    def advance(self, key: int, bars: pa.Table) -> list[Advance]:
        """Take a micro-batch's bars into the shard `key`, in memory and in the store."""
        head = self._head.get()
        held = bytes(head[0]) if head else _BYTES.pack(0)
        (written,) = _BYTES.unpack_from(held)
        names = [held[at : at + _NAME_LENGTH] for at in range(_BYTES.size, len(held), _NAME_LENGTH)]
        shard = self._read(key, names)
        advanced = shard.take(bars, self._settings.silent_ms)
        change = to_bytes(bars.select(CHANGE_COLUMNS))
        written += len(change)
        before = names[-1] if names else repr(self._settings).encode()
        name = blake2b(before + change, digest_size=_NAME_LENGTH).digest()
        if names and written <= CHANGES_A_SNAPSHOT * shard.nbytes:
            self._changes.updateValue((name,), (change,))
        else:
            self._changes.clear()
            self._snapshot.update((shard.to_bytes(),))
            written, names = 0, []
        self._head.update((b"".join([_BYTES.pack(written), *names, name]),))
        _copies[key] = (name, shard)
        return advanced

    def _read(self, key: int, names: list[bytes]) -> Shard:
        """The shard after the last of the changes `names`."""
        name, shard = _copies.pop(key, (None, None))
        if shard is None or name not in names:
            shard, name = self._read_snapshot(), None
        since = names[names.index(name) + 1 if name else 1 :]
        for change in since:
            held = self._changes.getValue((change,))
            assert held is not None  # head and changes are committed together
            shard.take(from_bytes(held[0]), self._settings.silent_ms)
        return shard

    def _read_snapshot(self) -> Shard:
        made_with = self._settings
        settings = (made_with.lookback, made_with.late_bars, made_with.shards)
        snapshot = self._snapshot.get()
        return Shard.from_bytes(bytes(snapshot[0]), *settings) if snapshot else Shard(*settings)
