"""Which rows train and which validate."""
