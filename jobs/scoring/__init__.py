"""What `score` and `retrain` are made of."""
