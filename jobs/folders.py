"""The folders `batch=...` of a table: one for each micro-batch, or each compacted day."""

from collections.abc import Iterable
from typing import Any

from pyspark.sql import SparkSession

from conf.errors import CandlecastError


class Folders:
    """The folders `batch=...` of one table, on whatever file system Hadoop knows."""

    def __init__(self, spark: SparkSession, path: str) -> None:
        jvm, context = spark.sparkContext._jvm, spark.sparkContext._jsc
        assert jvm is not None
        self.path = path
        self._new_path = jvm.org.apache.hadoop.fs.Path
        self._files: Any = self._new_path(path).getFileSystem(context.hadoopConfiguration())
        # The same folder with its file system, whatever another process's own folder is.
        self.address = str(self._files.makeQualified(self._at("")).toString())

    def names(self) -> list[str]:
        """What stands behind `batch=`, for each folder."""
        return self._after("batch=")

    def publish(self, staged: str, name: str) -> None:
        """Make a finished folder visible, in one rename."""
        if not self._files.rename(self._at(staged), self._at(f"batch={name}")):
            raise CandlecastError(f"{self.path}: {staged} could not become batch={name}")

    def remove(self, names: Iterable[str]) -> None:
        """Take folders away that another one has replaced."""
        for name in names:
            self._files.delete(self._at(f"batch={name}"), True)

    def discard(self, staged: str) -> None:
        """Remove what a run that died has left unfinished."""
        self._files.delete(self._at(staged), True)

    def discard_all(self, prefix: str) -> None:
        """Remove every folder whose name begins so."""
        for name in self._after(prefix):
            self.discard(prefix + name)

    def _after(self, prefix: str) -> list[str]:
        if not self._files.exists(self._at("")):
            return []
        found = (status.getPath().getName() for status in self._files.listStatus(self._at("")))
        return sorted(name.removeprefix(prefix) for name in found if name.startswith(prefix))

    def _at(self, name: str) -> Any:
        return self._new_path(f"{self.path}/{name}" if name else self.path)
