"""The task that needs no files: scikit-learn's bundled handwritten digits."""

from __future__ import annotations

import numpy as np

from tune_digits.config import RowGroups
from tune_digits.data.dataset import Dataset, SubmissionFormat, Target, Task
from tune_digits.errors import DataError

TEST_PART = 0.2


def load_digits_task(groups: str | RowGroups | None = None) -> Task:
    """1,437 training and 360 test images, uint8 (N, 1, 8, 8), ten classes; the test part has labels too.

    The split is stratified and always the same. ids are row numbers in scikit-learn's own order, and
    `RowGroups` counts rows in that order (neighbours are often by one writer).
    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.

    Raises DataError when `groups` names a column: these data have none.
    """
    if isinstance(groups, str):
        raise DataError(
            f"cv.groups names the column {groups!r}, but the bundled digits have no columns. "
            "Leave cv.groups out, or give {rows_per_group: N}."
        )
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]  # the values are 0..16
    labels = bunch.target.astype(np.int64)[:, None]
    everything = Dataset(
        images=images,
        labels=labels,
        ids=np.arange(len(images)),
        targets=(Target("label", tuple(str(c) for c in range(10))),),
        groups=None if groups is None else np.arange(len(images)) // groups.rows_per_group,
    )
    train_rows, test_rows = train_test_split(
        everything.ids, test_size=TEST_PART, stratify=labels[:, 0], random_state=0
    )
    test = everything.take(np.sort(test_rows))
    return Task(
        name="digits",
        train=everything.take(np.sort(train_rows)),
        test=test,
        submission=SubmissionFormat("id", "label", test.ids),
    )
