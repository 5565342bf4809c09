"""The project from Python: what `from tune_digits import ...` gives, and the path that the commands walk with it."""
