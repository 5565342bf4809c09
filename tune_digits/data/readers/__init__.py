"""One reader per format, all behind one protocol.

A new format is a module here with what `Reader` lists, a line in READERS, a test, and a row in README's table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from tune_digits.data.dataset import Target, Task
from tune_digits.data.options import DataOptions
from tune_digits.data.readers import (
    arrays,
    bengali,
    class_folders,
    digits,
    idx,
    image_folder,
    kaggle_csv,
    torchvision_sets,
)

Own = TypeVar("Own", bound=DataOptions)


class Reader(Protocol[Own]):
    """What reads one format: the modules of this package."""

    @property
    def Options(self) -> type[Own]:
        """The options of `data` with this format. `format` is its name in READERS; each of its own options has a
        default, and means the same in every format that has one of that name. The docstring says what files look like.
        """

    def sniff(self, path: Path) -> bool:
        """Whether the file or folder is of this format, by names and headers alone; False where there is none."""

    def read(self, options: Own, cache_dir: Path | None) -> Task:
        """The task that the options name. `cache_dir` keeps parsed copies (`files/cache.py`).

        Raises DataError for anything missing, malformed or contradictory, with the file, the row and the way out.
        """

    def read_unlabelled(
        self,
        path: Path,
        shape: tuple[int, int, int],
        targets: tuple[Target, ...],
        options: Own,
        cache_dir: Path | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 (N, C, H, W) and ids (N,) of a file, or of a folder's test part; labels are ignored.

        shape: the (C, H, W) that a model was trained on. options: how the training images were read.
        Raises DataError as `read` does, and for images of another shape.
        """


# in the order in which auto asks them
READERS: dict[str, Reader[Any]] = {
    "digits": digits,
    "torchvision": torchvision_sets,
    "bengali": bengali,
    "idx": idx,
    "arrays": arrays,
    "kaggle_csv": kaggle_csv,
    "image_folder": image_folder,
    "class_folders": class_folders,
}
