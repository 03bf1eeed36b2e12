"""The folders `batch=...` of a table: one for each micro-batch, or each compacted day."""

from pyspark.sql import SparkSession

from conf.errors import CandlecastError
from conf.sections import local_folder
from conf.state_files import sync_folder
from spark.files import Folder
from store.files import BATCH


class Folders:
    """The folders `batch=...` of one table, on whatever file system Hadoop knows."""

    def __init__(self, spark: SparkSession, path: str) -> None:
        self.path = path
        self._folder = Folder(spark, path)
        self.address = self._folder.address

    def publish(self, staged: str, name: str) -> None:
        """Make a finished folder visible, in one rename; raises where there is one of this name."""
        target = f"{BATCH}{name}"
        # Hadoop moves a folder into one that exists, where nobody reads it, and calls it done.
        if self._folder.exists(target) or not self._folder.rename(staged, target):
            raise CandlecastError(f"{self.path}: {staged} could not become {target}")
        # On the disk before Spark notes the micro-batch as done.
        if (folder := local_folder(self.address)) is not None:
            sync_folder(folder)

    def remove(self, name: str) -> None:
        """Take a folder away that another one replaces."""
        self._folder.delete(f"{BATCH}{name}")

    def discard_all(self, prefix: str) -> None:
        """Remove what runs that died have left unfinished, by how its name begins."""
        for name in self._folder.names():
            if name.startswith(prefix):
                self._folder.delete(name)
