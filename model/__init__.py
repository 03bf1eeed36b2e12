"""Features, the LSTM, its evaluation, its artifact and its registry."""
