"""The folders of one table as compaction sees them: through Arrow, on this machine or elsewhere."""

import logging
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from conf.errors import CandlecastError
from conf.events import event
from conf.sections import local_folder
from conf.state_files import sync_file, sync_folder
from store.files import BATCH, not_listed
from store.schema import Table

log = logging.getLogger(__name__)

# How the names of folders begin that compaction has not published.
STAGED: Final = "_compacting-"
_CALENDAR: Final = (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))


def file_system(address: str) -> tuple[pafs.FileSystem, str]:
    """What reads and writes at an address of Hadoop's, and the path there.

    >>> file_system("file:/data/warehouse/bars")[1]
    '/data/warehouse/bars'
    """
    folder = local_folder(address)
    if folder is not None:
        return pafs.LocalFileSystem(), str(folder.absolute())
    # Hadoop and Arrow call S3 by different names.
    found: Any = pafs.FileSystem.from_uri(re.sub("^s3a:", "s3:", address))
    files, path = found
    return files, path


def sync_written(files: pafs.FileSystem, file: str) -> None:
    """Let a file that was written, and its name, survive a loss of power; other machines see to it
    themselves."""
    if isinstance(files, pafs.LocalFileSystem):
        sync_file(Path(file))
        sync_folder(Path(file).parent)


class TableFolder:
    """The folders `batch=NAME` of one table; a name here is what stands behind `batch=`.

    A folder with a file that can't be read, or that lacks what identifies a row, is named in the
    log once and left alone: its name is in `unreadable`.
    """

    def __init__(self, warehouse_dir: str, table: Table) -> None:
        self.table = table
        self._files, root = file_system(warehouse_dir)
        self.path = f"{root}/{table.name}"
        self.unreadable: set[str] = set()

    def sizes(self) -> dict[str, int]:
        """The bytes in each folder that has a Parquet file."""
        found = {name: self._parquet(name) for name in self._named(BATCH)}
        return {name: sum(f.size or 0 for f in files) for name, files in found.items() if files}

    def readable(self, names: Iterable[str]) -> list[str]:
        """Those of the folders whose every row can be read and told from others."""
        return [name for name in names if name not in self.unreadable and self._can_be_read(name)]

    def _can_be_read(self, name: str) -> bool:
        needed = {*self.table.identity, self.table.time}
        try:
            for batch in self.rows([name]).to_batches(columns=sorted(self.table.columns)):
                if unknown := [one for one in sorted(needed) if batch[one].null_count]:
                    raise pa.ArrowInvalid(f"rows without {unknown[0]}")
                _require_calendar(batch[self.table.time])
        except (pa.ArrowException, OSError) as error:
            self.unreadable.add(name)
            event(
                log,
                "folder_unreadable",
                level=logging.ERROR,
                folder=f"{self.path}/{BATCH}{name}",
                reason=str(error).splitlines()[0],
                effect="left alone",
            )
            return False
        return True

    def newest_ms(self, name: str) -> float:
        """The newest time in a folder, epoch ms, by the statistics of its files; infinity where
        they do not say."""
        newest = [-float("inf")]
        try:
            for info in self._parquet(name):
                with self._files.open_input_file(info.path) as source:
                    newest += _newest_ms(pq.ParquetFile(source), self.table.time)
        except (pa.ArrowException, OSError, KeyError, ValueError, OverflowError):
            return float("inf")
        return max(newest)

    def rows(self, names: Iterable[str]) -> ds.Dataset:
        """The rows of some folders, with `batch`; a column that a file lacks is null."""
        batch = pa.schema([("batch", pa.string())])
        return ds.dataset(
            [info.path for name in names for info in self._parquet(name)],
            schema=self.table.stored.append(batch.field("batch")),
            format="parquet",
            filesystem=self._files,
            partitioning=ds.partitioning(batch, flavor="hive"),
            partition_base_dir=self.path,
        )

    @contextmanager
    def staged(self) -> Iterator[tuple[str, pq.ParquetWriter]]:
        """A folder that readers pass over, by its name, and what writes its one file; when the
        block ends, the rows are on the disk."""
        name = f"{STAGED}{uuid.uuid4().hex}"
        self._files.create_dir(f"{self.path}/{name}")
        file = f"{self.path}/{name}/part-0.parquet"
        schema = self.table.stored
        with pq.ParquetWriter(file, schema, filesystem=self._files, compression="zstd") as writer:
            yield name, writer
        sync_written(self._files, file)

    def publish(self, staged: str, name: str) -> None:
        """Make a finished folder visible, in one rename; raises where there is one of this name."""
        target = f"{self.path}/{BATCH}{name}"
        if self._files.get_file_info(target).type != pafs.FileType.NotFound:
            raise CandlecastError(f"{target} exists already: {staged} can't take its place")
        self._files.move(f"{self.path}/{staged}", target)
        if isinstance(self._files, pafs.LocalFileSystem):
            sync_folder(Path(self.path))

    def remove(self, names: Iterable[str]) -> None:
        """Take folders away."""
        for name in names:
            self._files.delete_dir(f"{self.path}/{BATCH}{name}")

    def sweep(self) -> None:
        """Remove what runs that died have staged, and the empty folders that removals left over."""
        for name in self._named(STAGED):
            self._files.delete_dir(f"{self.path}/{STAGED}{name}")
        self.remove(n for n in self._named(BATCH) if not self._files.get_file_info(self._in(n)))

    def _in(self, name: str) -> pafs.FileSelector:
        return pafs.FileSelector(f"{self.path}/{BATCH}{name}", allow_not_found=True)

    def _parquet(self, name: str) -> list[pafs.FileInfo]:
        """The files of a folder that readers look at: Spark leaves others beside them."""
        infos = self._files.get_file_info(self._in(name))
        return [i for i in infos if i.extension == "parquet" and i.base_name[0] not in "._"]

    def _named(self, prefix: str) -> list[str]:
        """What stands behind `prefix` in the names of the table's folders, in order."""
        table = pafs.FileSelector(self.path, allow_not_found=True)
        try:
            infos = self._files.get_file_info(table)
        except OSError as error:
            raise not_listed(self.path, error) from error
        names = [info.base_name for info in infos if info.type == pafs.FileType.Directory]
        return sorted(name.removeprefix(prefix) for name in names if name.startswith(prefix))


def _newest_ms(file: pq.ParquetFile, time: str) -> Iterator[float]:
    column = file.schema_arrow.names.index(time)
    for group in range(file.metadata.num_row_groups):
        statistics = file.metadata.row_group(group).column(column).statistics
        if statistics is None or not statistics.has_min_max:
            yield float("inf")
        else:
            yield pa.scalar(statistics.max).cast(pa.timestamp("ms", "UTC")).cast(pa.int64()).as_py()


def _require_calendar(times: pa.Array) -> None:
    """Raise where one of the times lies outside the years 1 to 9998, in which folders are named."""
    earliest, latest = (pa.scalar(t, pa.timestamp("us", "UTC")) for t in _CALENDAR)
    known = pc.and_(pc.greater_equal(times, earliest), pc.less(times, latest))
    if not pc.all(known).as_py():
        raise pa.ArrowInvalid("a time that no calendar has")
