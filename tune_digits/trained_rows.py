"""Which images a network has been trained on, as a hash each, kept beside its weights.

A score on rows that a network was trained on says nothing, and so does the score of one that starts from its weights or
learns from it. The hashes tell, whatever the order of the rows and whichever file they were read from.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tune_digits.data.fingerprint import row_hashes
from tune_digits.disk import read_arrays, write_arrays

TRAINED_ROWS = "trained_rows.npz"


def write_trained_rows(folder: Path, rows: np.ndarray) -> None:
    """Keep in `folder` the hashes uint64 (N,) of the images that the networks below it were trained on."""
    write_arrays(folder / TRAINED_ROWS, rows=np.unique(rows))


def read_trained_rows(folder: Path) -> np.ndarray:
    """What `write_trained_rows` wrote, each hash once. Raises RunError where it is damaged or missing."""
    return read_arrays(folder / TRAINED_ROWS, ["rows"], "make the weights beside it again")["rows"]


def rows_behind(weights: Path) -> np.ndarray | None:
    """The hashes of the images that the network of this file was trained on; None where that is not known.

    They stand in the file's folder or in the one above. Raises RunError where they are damaged.
    """
    for folder in weights.resolve().parents[:2]:
        if (folder / TRAINED_ROWS).is_file():
            return read_trained_rows(folder)
    return None


def count_seen(images: np.ndarray, rows: np.ndarray) -> int:
    """How many of the images uint8 (N, C, H, W) are among the hashes `rows`."""
    return int(np.isin(row_hashes(images), rows).sum())
