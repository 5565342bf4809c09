"""The task that needs no files: scikit-learn's bundled handwritten digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tune_digits.config import Data
from tune_digits.data.dataset import Dataset, RowForm, Target, Task
from tune_digits.errors import DataError

TEST_PART = 0.2


def load(data: Data, cache_dir: Path | None = None) -> Task:
    """`load_digits_task`, where the study names nothing else. Raises DataError when it does."""
    if data.path is not None:
        raise DataError(
            "The format 'digits' is scikit-learn's bundled set: it takes no data.path. "
            "Leave it out, or name another data.format."
        )
    return load_digits_task()


def load_digits_task() -> Task:
    """1,437 training and 360 test images, uint8 (N, 1, 8, 8), ten classes; the test part has labels too.

    The split is stratified and always the same. ids are row numbers in scikit-learn's own order, which the
    training rows keep (neighbours are often by one writer).
    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.
    """
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
    )
    train_rows, test_rows = train_test_split(
        everything.ids, test_size=TEST_PART, stratify=labels[:, 0], random_state=0
    )
    test = everything.take(np.sort(test_rows))
    return Task(
        name="digits",
        train=everything.take(np.sort(train_rows)),
        test=test,
        submission=RowForm().of(test.ids),
    )
