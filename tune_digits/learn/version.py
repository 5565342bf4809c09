"""The version of what a training means. Needs no torch: whoever names or compares trainings may ask."""

from __future__ import annotations

# Raise it by one whenever the same configuration, data and seed would train to other weights on purpose: a formula, an
# order of random numbers or a default was changed. It is part of the hashes that decide whether saved weights and
# scores may be taken again, so old ones are then left alone. tests/learn/test_golden.py fails when it was forgotten.
TRAINING_VERSION = 2
