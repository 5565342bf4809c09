"""Where runs and parsed copies of data lie when nothing else is said. Imports nothing heavy."""

from pathlib import Path

RUNS = Path("runs")
CACHE = RUNS / ".cache"
