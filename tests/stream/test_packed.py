import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from stream.packed import constant, to_bytes, unpack

SCHEMA = pa.schema([("symbol", pa.string()), ("horizon", pa.int32())])


def test_a_column_that_holds_each_value_once_is_unpacked_as_a_plain_one(
    spark: SparkSession,
) -> None:
    packed = to_bytes(
        pa.table([constant("BTC-USD", 2), pa.array([1, 5], pa.int32())], SCHEMA.names)
    )
    rows = spark.createDataFrame([(packed,), (None,)], "packed binary")
    found = unpack(F.col("packed"), rows, SCHEMA).collect()
    assert [tuple(row) for row in found] == [("BTC-USD", 1), ("BTC-USD", 5)]
