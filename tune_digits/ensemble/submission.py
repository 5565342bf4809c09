"""The submission file, in the very form of the sample submission."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from tune_digits.data.dataset import SubmissionFormat, Target
from tune_digits.disk import replacing


def submission_frame(form: SubmissionFormat, labels: np.ndarray, targets: tuple[Target, ...]) -> pd.DataFrame:
    """The table of the submission, R rows: labels int64 (N, T) of the test images, where `form` wants them.

    Classes stand as the training file wrote them: by name, as numbers where all names in a column are whole
    numbers in their plain form ("007" stays a name).
    """
    table: dict[str, np.ndarray] = {form.form.id_column: form.ids}
    for column, name in enumerate(form.form.label_columns):
        heads = form.heads[:, column]
        used = np.unique(heads).tolist()
        written = {h: written_classes(targets[h], form.form.numbers) for h in used}
        if not all(values.dtype.kind == "i" for values in written.values()):
            written = {h: values.astype(str) for h, values in written.items()}
        # an empty submission has no heads
        values = np.empty(len(heads), np.result_type(*written.values()) if written else np.int64)
        for head in used:
            rows = np.flatnonzero(heads == head)
            values[rows] = written[head][labels[form.rows[rows], head]]
        table[name] = values
    return pd.DataFrame(table)


def written_classes(target: Target, numbers: bool) -> np.ndarray:
    """What a submission writes for each class of a target, int64 or str (K,). numbers: its place, not its name."""
    if numbers:
        return np.arange(len(target.classes))
    names = np.array(target.classes, dtype=str)
    plain = all(re.fullmatch("0|-?[1-9][0-9]{0,17}", name) for name in target.classes)
    return names.astype(np.int64) if plain else names


def write_submission(path: Path, frame: pd.DataFrame) -> None:
    """CSV with a header and without an index, lines ended by a single newline."""
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")
