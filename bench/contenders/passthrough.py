"""Contender: Spark alone, Kafka to Kafka, key and value as they are: the engine's floor.

spark-submit bench/contenders/passthrough.py BROKER BARS_TOPIC OUTPUT_TOPIC CHECKPOINT_DIR
"""

import sys

from pyspark.sql import SparkSession


def main() -> None:
    """Run until ended from outside."""
    broker, topic, output, checkpoint_dir = sys.argv[1:]
    spark = SparkSession.builder.appName("passthrough").getOrCreate()
    messages = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", broker)
        .option("subscribe", topic)
        .option("startingOffsets", "earliest")
        # As the job has it (`jobs/query.py`); Spark's default lets each task wait half a second.
        .option("kafka.fetch.max.wait.ms", 5)
        .load()
    )
    query = (
        messages.select("key", "value")
        .writeStream.format("kafka")
        .option("kafka.bootstrap.servers", broker)
        .option("topic", output)
        .option("checkpointLocation", checkpoint_dir)
        .start()
    )
    query.awaitTermination()


if __name__ == "__main__":
    main()
