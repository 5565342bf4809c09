"""Folds in words and figures, for the run's summary."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tune_digits.config import Cv
from tune_digits.data.dataset import Labelled
from tune_digits.data.folds.split import Fold, kind_of

MOST_CLASSES, MOST_LETTERS = 12, 50  # whose counts stand in one line; of more, the range
MOST_FOLDS = 12  # lines of the table


def describe_folds(folds: Sequence[Fold], train: Labelled, cv: Cv) -> str:
    """`5 folds, stratified by class`, with what else there is to know of how they were made."""
    groups = "" if train.groups is None else f" ({len(np.unique(train.groups)):,} groups)"
    by = "class" if len(train.targets) == 1 else "combination of classes"
    how = {
        "stratified": f"stratified by {by}",
        "grouped": f"of whole groups{groups}",
        "stratified_grouped": f"of whole groups{groups}, stratified by class",
        "multilabel": "each class of each target dealt evenly",
        "random": "dealt by chance",
    }[kind_of(cv, train.groups)]
    if cv.fold_column is not None:
        how = f"by the column {cv.fold_column!r}"
    repeats = f" in {cv.repeats} repeats" if cv.repeats > 1 else ""
    count = f"{len(folds)} fold{'s' if len(folds) > 1 else ''}"
    words = f"{count}{repeats}, {how}"
    never = len(train) - len(np.unique(np.concatenate([f.valid_idx for f in folds])))
    if cv.holdout is None and never:
        words += f"; {never:,} rows train in every fold and never validate"
    return words


def fold_table(folds: Sequence[Fold], train: Labelled) -> tuple[list[str], list[list[str]]]:
    """Heads and lines of a small table: rows that train and validate, groups and samples per class that validate.

    Of many classes it gives the fewest and the most samples, of many folds the first ones.
    """
    shown = folds[:MOST_FOLDS]
    columns = {
        "fold": [str(f.index) for f in shown],
        "train": [f"{len(f.train_idx):,}" for f in shown],
        "valid": [f"{len(f.valid_idx):,}" for f in shown],
    }
    if train.groups is not None:
        columns["groups"] = [f"{len(np.unique(train.groups[f.valid_idx])):,}" for f in shown]
    for i, target in enumerate(train.targets):
        size = len(target.classes)
        counts = np.stack([np.bincount(train.labels[f.valid_idx, i], minlength=size) for f in shown])
        widths = [
            max(len(name), len(str(most))) for name, most in zip(target.classes, counts.max(0), strict=True)
        ]
        if size <= MOST_CLASSES and sum(widths) <= MOST_LETTERS:
            head = " ".join(f"{name:>{w}}" for name, w in zip(target.classes, widths, strict=True))
            columns[f"{target.name}\n{head}"] = [
                " ".join(f"{n:>{w}}" for n, w in zip(row, widths, strict=True)) for row in counts
            ]
        else:
            columns[f"{target.name}\n{size} classes"] = [
                f"{row.min():,} to {row.max():,} each" for row in counts
            ]
    return list(columns), [list(line) for line in zip(*columns.values(), strict=True)]
