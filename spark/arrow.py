"""Functions over Arrow batches as a step of a Spark plan."""

from collections.abc import Callable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import from_arrow_schema

ArrowFunction = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def map_in_arrow(rows: DataFrame, function: ArrowFunction, schema: pa.Schema) -> DataFrame:
    """Spark's `mapInArrow`, to rows of `schema`.

    Spark takes the types as a text as well, but reads it with its parser of SQL, which would cost a
    start half a second.
    """
    return rows.mapInArrow(function, from_arrow_schema(schema))
