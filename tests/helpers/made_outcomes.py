"""Trainings of which the truth is known, for the tests of `tune_digits.stats`."""

import numpy as np

from tune_digits.stats.outcomes import Training


def made(rng, errors, folds=3, seeds=1, rows=400, noise=0.0, groups=0):
    """Accuracy outcomes by configuration 0, 1, …; errors: each one's error rate. Groups: rows // groups in each."""
    outcomes = {c: [] for c in range(len(errors))}
    for fold in range(folds):
        own = np.arange(fold * rows, (fold + 1) * rows)
        # what a group does to each configuration
        shifts = rng.normal(0, 0.05, (len(errors), groups or 1)) if groups else np.zeros((len(errors), 1))
        group = np.arange(rows) * groups // rows if groups else np.zeros(rows, int)
        for seed in range(seeds):
            for c, error in enumerate(errors):
                chance = error + rng.normal(0, noise) + shifts[c, group]
                right = rng.random(rows) >= chance
                outcomes[c].append(Training(fold, seed, own, right / rows))
    every = np.arange(folds * rows) * groups // rows if groups else None
    return outcomes, every
