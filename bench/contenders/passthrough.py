"""Contender: Spark alone, Kafka to Kafka, key and value as they are: the engine's floor.

spark-submit bench/contenders/passthrough.py BROKER BARS_TOPIC OUTPUT_TOPIC CHECKPOINT_DIR WAIT_MS

WAIT_MS is Kafka's `fetch.max.wait.ms`. By its default of 500 ms each task waits half a second for
bars that are not there yet; the job waits `stream.query.FETCH_WAIT_MS`.
"""

import sys

from pyspark.sql import SparkSession


def main() -> None:
    """Run until ended from outside."""
    broker, topic, output, checkpoint_dir, wait_ms = sys.argv[1:]
    spark = SparkSession.builder.appName("passthrough").getOrCreate()
    messages = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", broker)
        .option("subscribe", topic)
        .option("startingOffsets", "earliest")
        .option("kafka.fetch.max.wait.ms", wait_ms)
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
