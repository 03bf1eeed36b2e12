"""Where bars come from: one module a source, one line a source in SOURCES."""
