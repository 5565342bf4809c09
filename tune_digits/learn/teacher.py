"""The teacher of a distillation: probabilities that an ensemble gave for the training rows, in a file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from tune_digits.errors import DataError


def read_teacher(path: Path, samples: int, heads: tuple[slice, ...]) -> np.ndarray:
    """The array `proba` of an .npz file: float32 (N, K), row i for row i of the training data as it is loaded.

    Of all `samples` rows, before folds or a subset are chosen. Within each head a row adds up to 1. Let them be
    out-of-fold predictions where there are any: what a network gives for rows it was trained on is near one-hot
    and teaches little more than the labels. A teacher has seen the rows that a fold validates on, so scores of
    its students are a little too good. Raises DataError.
    """
    try:
        file = np.load(path, allow_pickle=False)
        proba = file["proba"] if isinstance(file, np.lib.npyio.NpzFile) and "proba" in file else None
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
