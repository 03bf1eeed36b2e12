"""What people look at: the page, the HTTP API, the metrics."""
