"""Settings and the errors that every part shares."""
