"""The sample submission: what a submission's columns are called and how its rows are ordered."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from tune_digits.data.dataset import RowForm, SubmissionFormat
from tune_digits.data.files import find_csv, open_text, readable
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
        what = (
            "two columns, the id and the label,"
            if len(labels) == 1
            else f"the columns id, {', '.join(labels)}"
        )
        raise DataError(f"{path} must have {what} and a header.")
    ids = as_ids(np.array([cells[0].strip() for cells in rows[1:]], dtype=str))
    refuse_bad_ids(path, ids)
    place = {name: i for i, name in enumerate(expected.ids.tolist())}
    only_sample, only_test = set(ids.tolist()) - set(place), set(place) - set(ids.tolist())
    if only_sample or only_test:
        odd = (
            f"{min(only_sample, key=str)!r} is only in the first"
            if only_sample
            else f"{min(only_test, key=str)!r} is only in the second"
        )
        raise DataError(
            f"The ids of {path} ({len(ids):,} rows) and of {test_path} ({len(place):,} rows) differ: {odd}. "
            f"A test file without an id column is counted from 1. Are both files of one competition?"
        )
    order = np.array([place[name] for name in ids.tolist()], dtype=np.int64)
    id_column, *names = (name.strip() for name in rows[0])
    columns = list(range(len(names)))
    if len(names) > 1:
        if set(names) != set(labels):
            raise DataError(
                f"{path} has the columns {', '.join(names)} after the id; expected are the targets "
                f"{', '.join(labels)}, in any order."
            )
        columns = [labels.index(name) for name in names]
    heads = expected.heads[order][:, columns]
    form = _form(expected, order, heads, id_column, tuple(names))
    return SubmissionFormat(form, ids, expected.rows[order], heads)


def _form(
    expected: SubmissionFormat, order: np.ndarray, heads: np.ndarray, id_column: str, names: tuple[str, ...]
) -> RowForm:
    """The form of one image's rows, in the order in which the sample has the first image's."""
    form = replace(expected.form, id_column=id_column, label_columns=names)
    if len(order) == 0:
        return form
    first = np.flatnonzero(expected.rows[order] == expected.rows[order[0]])
    # an image's rows stand one after another in `expected`, in the order of its form's suffixes
    suffixes = tuple(form.suffixes[i % len(form.suffixes)] for i in order[first])
    return replace(form, suffixes=suffixes, heads=tuple(map(tuple, heads[first].tolist())))
