"""What passes between the data room and the rooms above it.

Shape letters: N samples, C channels, H W, T targets (heads), K class columns (all heads side by side).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any, Self

import numpy as np

from tune_digits.data.fingerprint import hash_array, hash_of


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to predict (one head): a name and its classes, in the order of their label numbers."""

    name: str
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Images of one file or folder, with labels where they are known.

    images: uint8 (N, C, H, W), 0..255, C-contiguous. labels: int64 (N, T), 0..len(classes)-1, or None.
    ids: (N,) int64 or str, as the submission names the rows. groups: int64 (N,) or None; samples of one
    group (a writer, a patient, a leaf) must never be split over folds. columns: what else the file says of each
    sample, by name, text (N,): what groups and folds may be made of.
    """

    images: np.ndarray
    labels: np.ndarray | None
    ids: np.ndarray
    targets: tuple[Target, ...]
    groups: np.ndarray | None = None
    columns: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: np.ndarray) -> Self:
        """The samples at `rows` (int (M,)), as a new data set."""
        return replace(
            self,
            images=self.images[rows],
            labels=None if self.labels is None else self.labels[rows],
            ids=self.ids[rows],
            groups=None if self.groups is None else self.groups[rows],
            columns={name: values[rows] for name, values in self.columns.items()},
        )

    @property
    def digests(self) -> dict[str, Any]:
        """Hashes of all that trainings and submissions are made of, and the number of rows; computed at each call.

        Columns are not among them: they act through groups and folds (see `fingerprint_of_folds`).
        """
        return {
            "rows": len(self),
            "images": hash_array(self.images),
            "labels": hash_array(self.labels),
            "ids": hash_array(self.ids),
            "groups": hash_array(self.groups),
            "targets": hash_of([[target.name, *target.classes] for target in self.targets]),
        }

    @property
    def fingerprint(self) -> str:
        """One hash of `digests`: it moves with every image, label, id, group, class and with the rows' order."""
        return hash_of(self.digests)


@dataclass(frozen=True, slots=True)
class Labelled(Dataset):
    """A data set whose labels are known: what is trained on, or scored."""

    labels: np.ndarray


@dataclass(frozen=True, slots=True)
class RowForm:
    """How a submission writes one test image: in one row or in several, r rows of L label columns each.

    The id of row i is the image's id with suffixes[i] behind it, with `stems` its file name without the ending;
    heads[i][j] is the target whose class stands there in the label column j. A class is written by its name, or,
    with `numbers`, by its place 0..; names that are whole numbers are numbers either way.
    """

    id_column: str = "id"
    label_columns: tuple[str, ...] = ("label",)
    suffixes: tuple[str, ...] = ("",)
    heads: tuple[tuple[int, ...], ...] = ((0,),)
    numbers: bool = False
    stems: bool = False

    @staticmethod
    def wide(targets: tuple[Target, ...]) -> RowForm:
        """One row per image: a column `label`, or of several targets a column for each, named after it."""
        names = ("label",) if len(targets) == 1 else tuple(t.name for t in targets)
        return RowForm(label_columns=names, heads=(tuple(range(len(targets))),))

    def of(self, ids: np.ndarray) -> SubmissionFormat:
        """The rows of the images with these ids (N,), in their order."""
        count = len(self.suffixes)
        if self.stems:
            ids = np.array([PurePath(name).stem for name in ids.tolist()], dtype=str)
        images = len(ids)
        rows = np.repeat(np.arange(images), count)
        if self.suffixes != ("",):
            ids = np.array(
                [f"{name}{suffix}" for name in ids.tolist() for suffix in self.suffixes], dtype=str
            )
        heads = np.tile(np.array(self.heads, np.int64).reshape(count, -1), (images, 1))
        return SubmissionFormat(self, ids, rows, heads)


@dataclass(frozen=True, slots=True)
class SubmissionFormat:
    """All rows of a submission, in order. R rows, L label columns.

    ids: (R,) int64 or str. rows: int64 (R,), the place of each row's image in the test data. heads: int64 (R, L),
    the target whose class stands there. form: the columns' names, and the same for test data yet unseen.
    """

    form: RowForm
    ids: np.ndarray
    rows: np.ndarray
    heads: np.ndarray

    def take(self, order: np.ndarray) -> SubmissionFormat:
        """The rows at `order`, int64 (M,). The form's rows are then in the order of those of the first row's image."""
        form = self.form
        if len(order):
            suffix = dict(zip(form.heads, form.suffixes, strict=True))
            first = order[self.rows[order] == self.rows[order[0]]]
            heads = tuple(map(tuple, self.heads[first].tolist()))
            form = replace(form, heads=heads, suffixes=tuple(suffix[h] for h in heads))
        return SubmissionFormat(form, self.ids[order], self.rows[order], self.heads[order])


@dataclass(frozen=True, slots=True)
class Task:
    """All data of one problem.

    train has labels. test may have labels (scikit-learn's digits) or none (Kaggle), or be missing.
    holdouts are labelled sets from elsewhere (Dig-MNIST): scored, never trained on. joined: the number of rows of each
    extra set, by name, whose rows are part of train, its last ones. untouched: labelled rows of the training files that
    only the last judgement reads (`cv.untouched`).
    """

    name: str
    train: Labelled
    test: Dataset | None = None
    holdouts: dict[str, Labelled] = field(default_factory=dict)
    submission: SubmissionFormat | None = None
    joined: dict[str, int] = field(default_factory=dict)
    untouched: Labelled | None = None

    @property
    def targets(self) -> tuple[Target, ...]:
        return self.train.targets

    @property
    def digests(self) -> dict[str, Any]:
        """Hashes of what results depend on, for JSON: those of the training rows, and one for each other set.

        `describe_difference` of `fingerprint.py` says in words what differs between those of two tasks. 60,000
        images of 28x28 pixels take 0.05 s.
        """
        aside = {} if self.untouched is None else {"untouched": self.untouched.fingerprint}
        return {
            **self.train.digests,
            **aside,
            "test": None if self.test is None else self.test.fingerprint,
            "holdouts": {name: holdout.fingerprint for name, holdout in self.holdouts.items()},
            "joined": dict(self.joined),
        }

    @property
    def fingerprint(self) -> str:
        """One hash of `digests`: the same for the same data, wherever and however often they are read."""
        return hash_of(self.digests)

    def describe(self) -> str:
        """One line: `kannada: 60,000 train, 10,000 test, 28x28x1, 10 classes, extra labelled set Dig-MNIST 10,240`."""
        _, channels, height, width = self.train.images.shape
        classes = "+".join(str(len(t.classes)) for t in self.targets)
        joined = " and ".join(f"{n:,} of them {name}" for name, n in self.joined.items())
        parts = [f"{len(self.train):,} train" + (f" ({joined})" if joined else "")]
        if self.test is not None:
            parts.append(f"{len(self.test):,} test")
        if self.untouched is not None:
            parts.append(f"{len(self.untouched):,} untouched")
        parts += [f"{height}x{width}x{channels}", f"{classes} classes"]
        parts += [f"extra labelled set {name} {len(d):,}" for name, d in self.holdouts.items()]
        return f"{self.name}: " + ", ".join(parts)


def head_slices(targets: tuple[Target, ...]) -> tuple[slice, ...]:
    """The columns of each head in (N, K) logits, probabilities and float targets."""
    ends = np.cumsum([len(t.classes) for t in targets]).tolist()
    return tuple(slice(end - len(t.classes), end) for t, end in zip(targets, ends, strict=True))
