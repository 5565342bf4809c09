"""The teacher of a distillation: a file with the probabilities that an ensemble gave for the training rows."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path

import numpy as np

from tune_digits.config.loss import Loss
from tune_digits.errors import ConfigError, DataError


def read_teacher(path: Path, samples: int, heads: tuple[slice, ...]) -> np.ndarray:
    """The array `proba` of an .npz file: float32 (N, K), row i for row i of the training data as they are loaded.

    It covers all `samples` rows, before folds or a subset are chosen; within each target (`heads`: its class columns)
    a row adds up to 1. Prefer out-of-fold predictions: what a network gives for rows it was trained on is near one-hot
    and teaches little more than the labels. A teacher has seen the rows that a fold validates on, so scores of its
    students are a little too good. Raises DataError.
    """
    proba = None
    try:
        # opened here: NumPy leaves a damaged archive open
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.lib.npyio.NpzFile):  # of an .npy it is the array itself
                proba = loaded.get("proba")
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as a teacher's .npz: {error}") from None
    if proba is None:
        raise DataError(f"{path}: must be an .npz file with an array `proba`")
    classes = heads[-1].stop
    if proba.shape != (samples, classes):
        raise DataError(
            f"{path}: proba is {proba.shape}, but the training data have {samples} rows and {classes} classes"
            f" (all target columns together): it must be ({samples}, {classes})"
        )
    if proba.dtype.kind != "f":
        raise DataError(f"{path}: proba must be floats, got {proba.dtype}")
    good = (np.isfinite(proba) & (proba >= 0)).all(1)
    for head in heads:
        good &= np.abs(proba[:, head].sum(1, dtype=np.float64) - 1) < 1e-2
    if not good.all():
        raise DataError(
            f"{path}: proba row {int(np.argmin(good))}: must be probabilities that add up to 1 in each target"
        )
    return proba.astype(np.float32)


def teacher_digest(path: Path) -> str:
    """sha256 of the teacher's file, in hexadecimal. Raises DataError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read as a teacher's .npz: {error}") from None


def check_teacher(config: Loss, heads: tuple[slice, ...], samples: int, subset: int | None = None) -> None:
    """Raise ConfigError or DataError where a training with this loss would find a teacher that does not fit its data.

    heads: the class columns of each target; samples: rows of the training data; subset: data.subset of the study.
    """
    if config.teacher_weight == 0 or config.teacher is None:
        return
    if subset is not None:
        raise ConfigError(
            "trial.loss.teacher covers all training rows, and data.subset takes some of them: leave one of the two out"
        )
    read_teacher(Path(config.teacher), samples, heads)
