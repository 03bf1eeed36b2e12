"""What the programs share in a terminal: logs, progress bars, signals."""
