"""Files on whatever file system Hadoop knows, asked through Spark."""

import re
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession


def java(spark: SparkSession) -> Any:
    """The packages of Spark's Java."""
    return spark.sparkContext._jvm


def hadoop_path(spark: SparkSession, path: str) -> tuple[Any, Any]:
    """A path as Hadoop's, and the file system that it lies on."""
    found = java(spark).org.apache.hadoop.fs.Path(path)
    return found, found.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())


def literal(path: str) -> str:
    """A path that Hadoop does not take for a pattern.

    >>> print(literal("/data/[1]{2}/bars"))
    /data/\\[1\\]\\{2\\}/bars
    """
    return re.sub(r"([\\{}\[\]*?])", r"\\\1", path)


def exists(spark: SparkSession, pattern: str) -> bool:
    """Whether there is a file or folder of this name; `*` stands for any part of a name."""
    path, files = hadoop_path(spark, pattern)
    found = files.globStatus(path)
    return found is not None and len(found) > 0


def read_text(spark: SparkSession, path: str) -> str | None:
    """The text of a file; None where there is none. Raises OSError where it can't be read, or is
    not what was written."""
    at, files = hadoop_path(spark, path)
    try:
        if not files.exists(at):
            return None
        stream = files.open(at)
        try:
            return str(java(spark).org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
        finally:
            stream.close()
    except Py4JJavaError as error:
        raise OSError(f"{path} can't be read: {error.java_exception}") from error


def write_text(spark: SparkSession, path: str, text: str) -> None:
    """Write a file anew, in one step: whoever reads, and a crash, meet the old or the new one."""
    at, files = hadoop_path(spark, path)
    files.mkdirs(at.getParent())
    checkpointing = java(spark).org.apache.spark.sql.execution.streaming.checkpointing
    managers = getattr(getattr(checkpointing, "CheckpointFileManager$"), "MODULE$")
    manager = managers.create(at.getParent(), spark.sparkContext._jsc.hadoopConfiguration())
    stream = manager.createAtomic(at, True)
    try:
        stream.write(bytearray(text.encode()))
    except BaseException:
        stream.cancel()
        raise
    stream.close()


class Folder:
    """The files and folders in one folder of a table, by their names."""

    def __init__(self, spark: SparkSession, path: str) -> None:
        self._path, self._files = hadoop_path(spark, path)
        self._new_path = java(spark).org.apache.hadoop.fs.Path
        # The same folder with its file system, whatever another process's own folder is.
        self.address = str(self._files.makeQualified(self._path).toString())

    def names(self) -> list[str]:
        """What is there, in order; nothing where the folder itself is missing."""
        if not self._files.exists(self._path):
            return []
        return sorted(status.getPath().getName() for status in self._files.listStatus(self._path))

    def exists(self, name: str) -> bool:
        """Whether there is a thing of this name."""
        return bool(self._files.exists(self._at(name)))

    def rename(self, name: str, to: str) -> bool:
        """Give a thing another name, in one step; whether it could be done."""
        return bool(self._files.rename(self._at(name), self._at(to)))

    def delete(self, name: str) -> None:
        """Take a thing away with all that is in it."""
        self._files.delete(self._at(name), True)

    def _at(self, name: str) -> Any:
        return self._new_path(self._path, name)
