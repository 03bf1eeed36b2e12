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
from hashlib import blake2b
from typing import Final

import pyarrow as pa

from stream.packed import from_bytes, to_bytes
from stream.state.settings import ShardSettings, StateVariables
from stream.state.shard import CHANGE_COLUMNS, Advance, Shard

# The changes grow to so many times the snapshot before the next one: of a hundred micro-batches of
# a minute each, one writes the whole shard, and a start reads three times its size.
CHANGES_A_SNAPSHOT: Final = 2

_BYTES: Final = struct.Struct("<Q")  # of all changes; the names follow
_NAME_LENGTH: Final = 16
# By shard: the name of the last change in this process's copy, and the copy.
_copies: dict[int, tuple[bytes, Shard]] = {}


class ShardLog:
    """The shard that Spark calls for, in its variables."""

    def __init__(self, variables: StateVariables, settings: ShardSettings) -> None:
        self._settings = settings
        self._head = variables.head
        self._snapshot = variables.snapshot
        self._changes = variables.changes

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
