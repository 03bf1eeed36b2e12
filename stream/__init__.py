"""The streaming query: from the topic of bars to predictions on a topic and in Parquet."""
