"""The task that needs no files: scikit-learn's bundled handwritten digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator

from tune_digits.data.dataset import Labelled, RowForm, Target, Task
from tune_digits.data.options import DataOptions
from tune_digits.errors import DataError

TEST_FRACTION = 0.2


class Options(DataOptions):
    """nothing at all: scikit-learn's bundled digits"""

    format: Literal["digits"] = "digits"
    path: None = Field(None, description="none: the images are scikit-learn's own")

    @field_validator("path", mode="before")
    @classmethod
    def _no_path(cls, path: Any) -> Any:
        if path is not None:
            raise ValueError(
                "the format digits is scikit-learn's bundled set, and takes no path; leave it out, or name another "
                "format"
            )
        return path


def sniff(path: Path) -> bool:
    """No path is that of scikit-learn's digits: they are taken where there is none."""
    return False


def read(options: Options, cache_dir: Path | None = None) -> Task:
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
    everything = Labelled(
        images=images,
        labels=labels,
        ids=np.arange(len(images)),
        targets=(Target("label", tuple(str(c) for c in range(10))),),
    )
    train_rows, test_rows = train_test_split(
        everything.ids, test_size=TEST_FRACTION, stratify=labels[:, 0], random_state=0
    )
    test = everything.take(np.sort(test_rows))
    return Task(
        name="digits",
        train=everything.take(np.sort(train_rows)),
        test=test,
        submission=RowForm().of(test.ids),
    )


def read_unlabelled(
    path: Path,
    shape: tuple[int, int, int],
    targets: tuple[Target, ...],
    options: Options,
    cache_dir: Path | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """There are no further images: raises DataError."""
    raise DataError(
        "scikit-learn's digits have no further images to predict. Give a file or folder of images."
    )
