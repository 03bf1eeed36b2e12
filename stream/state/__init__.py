"""What the query remembers between micro-batches: a window of bars for each series."""
