"""The sample submission: what a submission's columns are called and how its rows are ordered."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from tune_digits.data.dataset import SubmissionFormat
from tune_digits.data.files.paths import find_csv, open_text, readable
from tune_digits.data.labels import as_ids, refuse_bad_ids
from tune_digits.errors import DataError


def read_submission_format(folder: Path, expected: SubmissionFormat, test_path: Path) -> SubmissionFormat:
    """The form of `sample_submission.csv` in the folder: its columns and its rows in order; without one, `expected`.

    expected: the rows that the test data in `test_path` ask for, in any order.
    Raises DataError when the sample is malformed or has other ids than the test data.
    """
    path = find_csv(folder, "sample_submission")
    if path is None:
        return expected
    with readable(path), open_text(path) as file:
        rows = [cells for cells in csv.reader(file) if cells]
    labels = expected.form.label_columns
    if not rows or any(len(cells) != 1 + len(labels) for cells in rows):
        what = "two columns, the id and the label," if len(labels) == 1 else f"the id, {', '.join(labels)}"
        raise DataError(f"{path} must have {what} and a header.")
    ids = as_ids(np.array([cells[0].strip() for cells in rows[1:]], dtype=str))
    refuse_bad_ids(path, ids)
    place = {str(name): i for i, name in enumerate(expected.ids.tolist())}
    if len(place) < len(expected.ids):
        raise DataError(f"{path} names images by id, but some in {test_path} have the same id.")
    given = ids.astype(str).tolist()
    only_sample, only_test = set(given) - set(place), set(place) - set(given)
    if only_sample or only_test:
        odd = min(only_sample or only_test, key=lambda name: (len(name), name))
        odd += f" is only in the {'first' if only_sample else 'second'}"
        raise DataError(
            f"The ids of {path} ({len(ids):,} rows) and of {test_path} ({len(place):,} rows) differ: {odd}. "
            f"A test file without an id column is counted from 1. Are both files of one competition?"
        )
    taken = expected.take(np.array([place[name] for name in given], dtype=np.int64))
    id_column, *names = (name.strip() for name in rows[0])
    columns = list(range(len(names)))
    if len(names) > 1:
        if set(names) != set(labels):
            raise DataError(
                f"{path} has the columns {', '.join(names)} after the id; expected are the targets "
                f"{', '.join(labels)}, in any order."
            )
        columns = [labels.index(name) for name in names]
    heads = tuple(tuple(row[column] for column in columns) for row in taken.form.heads)
    form = replace(taken.form, id_column=id_column, label_columns=tuple(names), heads=heads)
    return SubmissionFormat(form, ids, taken.rows, taken.heads[:, columns])
