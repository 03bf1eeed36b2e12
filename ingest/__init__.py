"""From a market-data source to the topic `bars`. Knows no Spark and no TensorFlow."""
