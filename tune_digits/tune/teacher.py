"""The teacher of a distillation: a file with probabilities for the training rows, or the networks of another run's
folds."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tune_digits.config.given import SameFolds
from tune_digits.config.loss import Loss
from tune_digits.disk import file_digest
from tune_digits.errors import DataError
from tune_digits.tune.kept_folds import kept_digest, kept_network, out_of_fold_file
from tune_digits.tune.networks import load_network


def read_teacher(path: Path, samples: int, heads: tuple[slice, ...]) -> np.ndarray:
    """The array `proba` of an .npz file: float32 (N, K), row i for row i of the training data as they are loaded.

    It covers all `samples` rows, before folds or a subset are chosen; within each target (`heads`: its class columns)
    a row adds up to 1. Raises DataError.
    """
    proba = _array(path, "proba")
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


def rows_behind_teacher(path: Path) -> np.ndarray | None:
    """Hashes uint64 of the images that the teacher was trained on; None where the file does not say.

    Raises DataError.
    """
    rows = _array(path, "trained_rows")
    if rows is not None and (rows.dtype != np.uint64 or rows.ndim != 1):
        raise DataError(f"{path}: trained_rows must be uint64 (N,), got {rows.dtype} {rows.shape}")
    return rows


def _array(path: Path, name: str) -> np.ndarray | None:
    try:
        # opened here: NumPy leaves a damaged archive open
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            # of an .npy it is the array itself
            return loaded.get(name) if isinstance(loaded, np.lib.npyio.NpzFile) else None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as a teacher's .npz: {error}") from None


def teach(
    config: Loss,
    images: np.ndarray,
    rows: np.ndarray,
    heads: tuple[slice, ...],
    fold: int | None,
    device: Any,
) -> np.ndarray | None:
    """What the configured teacher says of the images uint8 (N, C, H, W) at `rows`: float32 (N, K), 0 elsewhere.

    None without a teacher. fold: the one that the training leaves out; None where it trains on all rows. heads: the
    class columns of each target. Raises ConfigError, DataError or RunError where the teacher does not fit.
    """
    source = config.teacher
    if config.teacher_weight == 0 or source is None:
        return None
    if isinstance(source, str):
        return read_teacher(Path(source), len(images), heads)
    if fold is None:
        return read_teacher(out_of_fold_file(source, "loss.teacher"), len(images), heads)

    import torch

    from tune_digits.learn.predict import predict_proba

    file = kept_network(source, fold, "loss.teacher")
    model, trial = load_network(file, images.shape[1:], heads[-1].stop, device, "these images and classes")
    proba = np.zeros((len(images), heads[-1].stop), np.float32)
    pixels = torch.from_numpy(np.ascontiguousarray(images[rows])).to(device)
    proba[rows] = predict_proba(model, pixels, heads, precision=trial.train.precision)
    return proba


def teacher_digest(teacher: str | SameFolds) -> str:
    """A hash of the content of the teacher's files. Raises ConfigError or DataError where they cannot be read."""
    if isinstance(teacher, SameFolds):
        return kept_digest(teacher, "loss.teacher")
    try:
        return file_digest(Path(teacher))
    except OSError as error:
        raise DataError(f"{teacher}: cannot be read as a teacher's .npz: {error}") from None


def check_teacher(config: Loss, heads: tuple[slice, ...], samples: int) -> None:
    """Raise ConfigError or DataError where a training with this loss would find a teacher that does not fit its data.

    heads: the class columns of each target; samples: rows of the training data.
    """
    if config.teacher_weight == 0 or config.teacher is None:
        return
    if isinstance(config.teacher, SameFolds):
        # the ensemble will read it: better said now than after the search
        file = out_of_fold_file(config.teacher, "trial.loss.teacher")
    else:
        file = Path(config.teacher)
    read_teacher(file, samples, heads)
