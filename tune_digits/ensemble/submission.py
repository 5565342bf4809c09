"""The submission file, in the very form of the sample submission."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tune_digits.data.dataset import Target
from tune_digits.runs import replacing


def submission_frame(
    ids: np.ndarray, labels: np.ndarray, targets: tuple[Target, ...], id_column: str, label_column: str
) -> pd.DataFrame:
    """ids (N,) and labels int64 (N, T=1) as a table of two columns; classes as the training file wrote them.

    Class names that are all whole numbers are written as numbers.
    """
    if len(targets) != 1:
        raise ValueError(f"one target expected, got {len(targets)}")
    names = np.array(targets[0].classes)
    values = names[labels[:, 0]]
    # "007" must stay a name
    if all(n == str(int(n)) if n.lstrip("-").isdigit() else False for n in targets[0].classes):
        values = values.astype(np.int64)
    return pd.DataFrame({id_column: ids, label_column: values})


def write_submission(path: Path, frame: pd.DataFrame) -> None:
    """CSV with a header and without an index, lines ended by a single newline."""
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")
