"""Features, the LSTM, its evaluation, its artifact and its registry. Spark only in `serve.py`."""
