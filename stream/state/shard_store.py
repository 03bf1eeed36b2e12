"""A shard in Spark's state store: a snapshot, and the bars of each micro-batch since.

A live minute changes a hundredth of a shard, and a shard of 500 symbols is 3 MB: fetching, writing
and committing it took 120 ms of each minute, the bars alone take 20. A worker keeps the shard in
memory from one micro-batch to the next:

    Spark's state   head       bytes of all changes, and their names, oldest first
                    shard      the snapshot, which holds the first of the changes named
                    changes    by name: the bars that one micro-batch brought
    the worker      copies     by shard: the name of the last change taken in, and the shard

A copy whose name is in the head takes in the changes after it; without one the worker reads the
snapshot and all changes. A change is named by the hash of its bars and of the name before it, and
so stands for everything that the shard has taken in. Two things follow: a copy that holds an
attempt which Spark never committed isn't named in the head, and a micro-batch that is repeated
writes the same bytes.
"""

from functools import cache
from hashlib import blake2b
from typing import Final, NamedTuple

import pyarrow as pa

from conf.sections import Market
from stream.packed import from_bytes, to_bytes
from stream.state.settings import ShardSettings, StateVariables
from stream.state.shard import Advance, Shard

# The changes grow to this many times the snapshot before the next one is written: about one of a
# hundred live minutes writes the whole shard, and a start reads at most three times its size.
CHANGES_A_SNAPSHOT: Final = 2
_NAME_LENGTH: Final = 16


@cache
def market_of(text: str) -> Market | None:
    """Who leads whom, from the settings as JSON; None where nobody does."""
    return Market.model_validate_json(text) if text else None


class Copy(NamedTuple):
    """A shard in a worker's memory, and the name of the last change that it has taken in."""

    last_change: bytes
    shard: Shard


class ShardStore:
    """The shards of one task: in Spark's variables, and in the copies that its worker keeps."""

    def __init__(
        self, variables: StateVariables, settings: ShardSettings, copies: dict[int, Copy]
    ) -> None:
        self._variables = variables
        self._settings = settings
        self._copies = copies

    def advance(self, key: int, bars: pa.Table) -> list[Advance]:
        """Take a micro-batch's bars into the shard `key`, which Spark's variables stand for.

        bars: as `Shard.take` wants them.
        """
        head = self._variables.head.get()
        n_bytes, names = (head[0], list(map(bytes, head[1]))) if head else (0, [])
        shard = self._read(key, names)
        advanced = shard.take(bars, self._settings.silent_ms)
        change = to_bytes(bars)
        before = names[-1] if names else repr(self._settings).encode()
        name = blake2b(before + change, digest_size=_NAME_LENGTH).digest()
        n_bytes += len(change)
        if names and n_bytes <= CHANGES_A_SNAPSHOT * shard.nbytes:
            self._variables.changes.updateValue((name,), (change,))
        else:
            self._variables.changes.clear()
            self._variables.snapshot.update((shard.to_bytes(),))
            n_bytes, names = 0, []
        self._variables.head.update((n_bytes, [*names, name]))
        self._copies[key] = Copy(name, shard)
        return advanced

    def _read(self, key: int, names: list[bytes]) -> Shard:
        """The shard after the last of the changes `names`; its copy is the caller's from now on."""
        copy = self._copies.pop(key, None)
        if copy is not None and copy.last_change in names:
            shard, since = copy.shard, names[names.index(copy.last_change) + 1 :]
        else:
            shard, since = self._read_snapshot(), names[1:]
        for name in since:
            change = self._variables.changes.getValue((name,))
            assert change is not None  # head and changes are committed together
            shard.take(from_bytes(change[0]), self._settings.silent_ms)
        return shard

    def _read_snapshot(self) -> Shard:
        made_with = self._settings
        market = market_of(made_with.market)
        settings = (made_with.lookback, made_with.late_bars, made_with.shards, market)
        snapshot = self._variables.snapshot.get()
        return Shard.from_bytes(bytes(snapshot[0]), *settings) if snapshot else Shard(*settings)
