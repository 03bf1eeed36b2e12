"""Keys of which Spark places each in a shuffle partition of its own."""

from typing import Final

from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

# So many candidates a partition that each partition gets one of them.
CANDIDATES: Final = 100


def balanced_keys(spark: SparkSession, partitions: int) -> list[int]:
    """The smallest key, a 32-bit integer, that Spark places in each of `partitions`.

    Spark places a key by its hash; of the keys 0 to 3, two would share one of four partitions and
    leave another, and the core that works on it, with nothing to do.
    """
    key = F.col("id").cast("int")
    candidates = spark.range(CANDIDATES * partitions, numPartitions=1)
    placed = candidates.select(F.pmod(F.hash(key), F.lit(partitions)), key).collect()
    smallest: dict[int, int] = {}
    for partition, candidate in placed:
        smallest.setdefault(partition, candidate)
    return [smallest[partition] for partition in range(partitions)]
