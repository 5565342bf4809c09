"""Out-of-fold predictions of which the truth is known, for the tests of votes."""

import numpy as np

from tune_digits.ensemble.out_of_fold import Cell, OutOfFold
from tune_digits.learn.metrics import ACCURACY


def made(skills, classes=3, folds=4, rows=300, seeds=1, seed=0, metric=ACCURACY, groups=None, shared=0.0):
    """Configurations with noise of their own on what they see of the truth; a higher skill sees more.

    shared: standard deviation of the noise that all have in common. groups: rows in each group.
    """
    rng = np.random.default_rng(seed)
    count = folds * rows
    labels = rng.integers(0, classes, count)
    common = shared * rng.normal(size=(count, classes))
    cells = []
    for fold in range(folds):
        own = np.arange(fold * rows, (fold + 1) * rows)
        for s in range(seeds):
            noise = rng.normal(size=(len(skills), rows, classes))
            logits = np.array(skills)[:, None, None] * np.eye(classes)[labels[own]] + noise + common[own]
            raised = np.exp(logits)
            cells.append(Cell(fold, s, own, (raised / raised.sum(2, keepdims=True)).astype(np.float32)))
    units = None if groups is None else np.arange(count) // groups
    return OutOfFold(tuple(cells), labels[:, None], (slice(0, classes),), metric, units)
