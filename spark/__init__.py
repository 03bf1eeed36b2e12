"""All that leans on the insides of Spark: session, file systems, Python workers, errors."""
