"""Data sets that torchvision has already put on this disk: `data.path: torchvision:MNIST`.

torchvision keeps MNIST and its kin as IDX files in ROOT/NAME/raw; they are read from there. Nothing is
downloaded, and PyTorch is not needed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tune_digits.config import Data
from tune_digits.data.dataset import Target, Task
from tune_digits.data.readers import idx
from tune_digits.errors import DataError

PREFIX = "torchvision:"
SETS = ("MNIST", "FashionMNIST", "KMNIST", "EMNIST")
SPLITS = ("byclass", "bymerge", "balanced", "letters", "digits", "mnist")  # of EMNIST


def matches(path: Path | str) -> bool:
    """Whether it is no path but the name of a set."""
    return str(path).startswith(PREFIX)


def load(data: Data, cache_dir: Path | None = None) -> Task:
    """MNIST, FashionMNIST, KMNIST, or one part of EMNIST (`torchvision:EMNIST/letters`) under `data.root`.

    EMNIST's images lie on their side, there and in torchvision; `data.transpose` sets them upright.
    Raises DataError when the set is unknown or not on the disk, saying which file is missing where.
    """
    if data.path is None or not matches(data.path):
        raise DataError(f"The format 'torchvision' needs data.path: {PREFIX}NAME, one of {', '.join(SETS)}.")
    name, _, split = data.path.removeprefix(PREFIX).partition("/")
    if name not in SETS:
        raise DataError(f"data.path names the torchvision set {name!r}. Known are: {', '.join(SETS)}.")
    if name == "EMNIST" and split not in SPLITS:
        raise DataError(f"EMNIST has several parts: write {PREFIX}EMNIST/PART, one of {', '.join(SPLITS)}.")
    if name != "EMNIST" and split:
        raise DataError(f"{name} has no part {split!r}: write {PREFIX}{name}.")
    if data.root is None:
        raise DataError(
            f"{data.path} needs data.root: the folder that torchvision's `root` was, with {name}/raw."
        )
    folder = Path(data.root).expanduser() / name / "raw"
    begin = f"emnist-{split}" if split else ""
    files = idx.find_sets(folder).get(begin, idx.IdxSet(begin))
    if files.train_images is None or files.train_labels is None:
        dash = f"{begin}-" if begin else ""
        absent = [
            f"{dash}{file}"
            for file, there in (
                ("train-images-idx3-ubyte", files.train_images),
                ("train-labels-idx1-ubyte", files.train_labels),
            )
            if there is None
        ]
        raise DataError(
            f"torchvision's {name} is not there, and nothing is downloaded. Put {' and '.join(absent)} (plain or "
            f".gz; for a test part {dash}t10k-images-idx3-ubyte too) into {folder}, or set data.root to where "
            f"{name}/raw is."
        )
    return idx.task_of(files, folder, f"{name}-{split}" if split else name)


def load_unlabelled(
    path: Path,
    shape: tuple[int, int, int],
    targets: tuple[Target, ...] = (),
    cache_dir: Path | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A name tells no place on the disk: raises DataError that asks for the files."""
    raise DataError(f"To predict, give the file of images, not {path}: ROOT/NAME/raw/t10k-images-idx3-ubyte.")
