"""Each shard is a task of its own, and stays where a checkpoint has it."""

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from spark.partitions import balanced_keys


@pytest.mark.parametrize("partitions", [1, 2, 4, 7])
def test_spark_gives_each_key_a_partition_of_its_own(spark: SparkSession, partitions: int) -> None:
    keys = spark.createDataFrame([(key,) for key in balanced_keys(spark, partitions)], "key int")
    places = keys.repartition(partitions, "key").select(F.spark_partition_id()).collect()
    assert sorted(place[0] for place in places) == list(range(partitions))


@pytest.mark.parametrize(
    ("partitions", "keys"),
    [
        (2, [2, 0]),
        (4, [12, 6, 2, 0]),
        (7, [12, 0, 1, 9, 3, 2, 11]),
        (8, [12, 6, 5, 1, 25, 15, 2, 0]),
    ],
)
def test_the_keys_of_a_checkpoint_are_found_again(
    spark: SparkSession, partitions: int, keys: list[int]
) -> None:
    assert balanced_keys(spark, partitions) == keys
