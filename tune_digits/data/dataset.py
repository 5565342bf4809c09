"""What passes between the data room and the rooms above it.

Shape letters: N samples, C channels, H W, T targets (heads), K class columns (all heads side by side).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


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

    def take(self, rows: np.ndarray) -> Dataset:
        """The samples at `rows` (int (M,)), as a new data set."""
        return Dataset(
            images=self.images[rows],
            labels=None if self.labels is None else self.labels[rows],
            ids=self.ids[rows],
            targets=self.targets,
            groups=None if self.groups is None else self.groups[rows],
            columns={name: values[rows] for name, values in self.columns.items()},
        )


@dataclass(frozen=True, slots=True)
class SubmissionFormat:
    """The sample submission's own form: its columns in order, and its ids in order (N,) int64 or str."""

    id_column: str
    label_column: str
    ids: np.ndarray


@dataclass(frozen=True, slots=True)
class Task:
    """All data of one problem.

    train has labels. test may have labels (scikit-learn's digits) or none (Kaggle), or be missing.
    holdouts are labelled sets from elsewhere (Dig-MNIST): scored, never trained on.
    """

    name: str
    train: Dataset
    test: Dataset | None = None
    holdouts: dict[str, Dataset] = field(default_factory=dict)
    submission: SubmissionFormat | None = None

    @property
    def targets(self) -> tuple[Target, ...]:
        return self.train.targets

    def describe(self) -> str:
        """One line: `kannada: 60,000 train, 10,000 test, 28x28x1, 10 classes, holdout Dig-MNIST 10,240`."""
        _, channels, height, width = self.train.images.shape
        classes = "+".join(str(len(t.classes)) for t in self.targets)
        parts = [f"{len(self.train):,} train"]
        if self.test is not None:
            parts.append(f"{len(self.test):,} test")
        parts += [f"{height}x{width}x{channels}", f"{classes} classes"]
        parts += [f"holdout {name} {len(d):,}" for name, d in self.holdouts.items()]
        return f"{self.name}: " + ", ".join(parts)


def head_slices(targets: tuple[Target, ...]) -> tuple[slice, ...]:
    """The columns of each head in (N, K) logits, probabilities and float targets."""
    ends = np.cumsum([len(t.classes) for t in targets]).tolist()
    return tuple(slice(end - len(t.classes), end) for t, end in zip(targets, ends, strict=True))
