"""What is odd about a task, found before anything trains on it.

N samples, T targets. Images are compared by hash (`row_hashes`): two are the same when every byte is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tune_digits.data.dataset import Dataset, Labelled, Task
from tune_digits.data.fingerprint import row_hashes
from tune_digits.data.folds.split import Fold

FORMULA = ("=", "+", "-", "@")  # with which a cell begins that a spreadsheet takes for a formula
SHOWN = 3  # examples in a message
IMBALANCE = 10  # a class this many times smaller than the most frequent one is reported


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: its kind (a key of CHECKS), how many, and a message with counts, examples and what to do."""

    kind: str
    count: int
    message: str


def check_task(task: Task, folds: Sequence[Fold]) -> list[Finding]:
    """All that the checks find: identical, contradicting and constant images, rare classes, and names that a
    spreadsheet would run."""
    hashes = {name: row_hashes(dataset.images) for name, dataset in _sets(task).items()}
    return [
        Finding(kind, count, message)
        for kind, check in CHECKS.items()
        for count, message in check(task, folds, hashes)
    ]


def _sets(task: Task) -> dict[str, Dataset]:
    test: dict[str, Dataset] = {} if task.test is None else {"test": task.test}
    return {"train": task.train, **test, **task.holdouts}


Hashes = dict[str, np.ndarray]
Found = Iterator[tuple[int, str]]


def _repeated(task: Task, folds: Sequence[Fold], hashes: Hashes) -> Found:
    train = hashes["train"]
    sets = _alike(train)
    if not sets:
        return
    copies = sum(len(rows) - 1 for rows in sets)
    leaked = np.zeros(len(train), bool)
    for fold in folds:
        leaked[fold.valid_idx] |= np.isin(train[fold.valid_idx], train[fold.train_idx])
    leak = "none is split between training and validation"
    if leaked.any():
        leak = (
            f"{leaked.sum():,} images validate in a fold that trains on a copy of them, which makes its score"
        )
        leak += " too good"
    yield (
        copies,
        f"{copies:,} training image(s) repeat another one: {_examples(task.train, sets)}; {leak}",
    )


def _contradicting(task: Task, folds: Sequence[Fold], hashes: Hashes) -> Found:
    labels = task.train.labels
    sets = [rows for rows in _alike(hashes["train"]) if (labels[rows] != labels[rows[0]]).any()]
    if sets:
        yield (
            len(sets),
            f"{len(sets):,} image(s) stand in the training set with different labels: "
            f"{_examples(task.train, sets, _labels)}; mend or remove them",
        )


def _known_elsewhere(task: Task, folds: Sequence[Fold], hashes: Hashes) -> Found:
    for name, dataset in _sets(task).items():
        if name == "train":
            continue
        own = hashes[name]
        rows = np.flatnonzero(np.isin(own, hashes["train"]))
        if len(rows) == 0:
            continue
        pairs = []
        for row in rows[:SHOWN].tolist():
            twin = int(np.argmax(hashes["train"] == own[row]))
            pairs.append(f"{_name(dataset, row)} is {_name(task.train, twin)} of train")
        yield (
            len(rows),
            f"{len(rows):,} image(s) of {name} are in the training set too: {', '.join(pairs)}"
            f"{_more(len(rows))}; a score on {name} will look better than it is",
        )


def _constant(task: Task, folds: Sequence[Fold], hashes: Hashes) -> Found:
    for name, dataset in _sets(task).items():
        flat = dataset.images.reshape(len(dataset), -1)
        rows = np.flatnonzero(flat.min(axis=1) == flat.max(axis=1))
        if len(rows):
            yield (
                len(rows),
                f"{len(rows):,} image(s) of {name} are of one value throughout: "
                f"{', '.join(_name(dataset, r) for r in rows[:SHOWN])}{_more(len(rows))}; "
                "nothing can be told from them",
            )


def _rare(task: Task, folds: Sequence[Fold], hashes: Hashes) -> Found:
    for i, target in enumerate(task.targets):
        counts = np.bincount(task.train.labels[:, i], minlength=len(target.classes))
        rare = np.flatnonzero(counts * IMBALANCE < counts.max())
        if len(rare) == 0:
            continue
        shown = sorted(rare.tolist(), key=lambda c: counts[c])[:SHOWN]
        yield (
            len(rare),
            f"{len(rare):,} class(es) of {target.name} have less than 1/{IMBALANCE} of the samples of the most "
            f"frequent, "
            f"{target.classes[counts.argmax()]!r} with {counts.max():,}: "
            f"{', '.join(f'{target.classes[c]!r} {counts[c]:,}' for c in shown)}{_more(len(rare))}; "
            "accuracy hardly sees them, cv.score: macro_recall does",
        )


def _formulas(task: Task, folds: Sequence[Fold], hashes: Hashes) -> Found:
    names = [name for target in task.targets for name in target.classes]
    if task.test is not None and task.test.ids.dtype.kind == "U":
        names += np.unique(task.test.ids).tolist()
    odd = [name for name in names if name.startswith(FORMULA) and not name[1:].isdigit()]
    if odd:
        yield (
            len(odd),
            f"{len(odd):,} name(s) of classes or ids begin with one of {' '.join(FORMULA)}: "
            f"{', '.join(map(repr, odd[:SHOWN]))}{_more(len(odd))}; a submission has to have them as they are, and a "
            "spreadsheet would run them as formulas: import it as text",
        )


CHECKS: dict[str, Callable[[Task, Sequence[Fold], Hashes], Found]] = {
    "repeated": _repeated,
    "contradicting": _contradicting,
    "known_elsewhere": _known_elsewhere,
    "constant": _constant,
    "rare": _rare,
    "formulas": _formulas,
}


def _alike(hashes: np.ndarray) -> list[np.ndarray]:
    """The rows of every hash that stands more than once, each int (n >= 2,) ascending, by their first row."""
    values, counts = np.unique(hashes, return_counts=True)
    rows = np.flatnonzero(np.isin(hashes, values[counts > 1]))
    rows = rows[np.argsort(hashes[rows], kind="stable")]
    sets = np.split(rows, np.flatnonzero(np.diff(hashes[rows])) + 1)
    return sorted((s for s in sets if len(s)), key=lambda s: s[0])


def _name(dataset: Dataset, row: int) -> str:
    name = dataset.ids[row]
    return str(name) if isinstance(name, str) else f"id {name}"


def _labels(dataset: Labelled, row: int) -> str:
    names = [t.classes[label] for t, label in zip(dataset.targets, dataset.labels[row], strict=True)]
    return f"{_name(dataset, row)} {'/'.join(names)!r}"


def _examples(
    dataset: Labelled, sets: Sequence[np.ndarray], name: Callable[[Labelled, int], str] = _name
) -> str:
    shown = [" = ".join(name(dataset, row) for row in rows[:SHOWN]) for rows in sets[:SHOWN]]
    return ", ".join(shown) + _more(len(sets))


def _more(count: int) -> str:
    return f" and {count - SHOWN:,} more" if count > SHOWN else ""
