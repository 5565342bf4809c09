"""Data sets that torchvision has already put on this disk: `data.path: torchvision:MNIST`.

torchvision keeps MNIST and its kin as IDX files in ROOT/NAME/raw; they are read from there. Nothing is
downloaded, and PyTorch is not needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tune_digits.data.dataset import Target, Task
from tune_digits.data.readers import idx
from tune_digits.errors import DataError

PREFIX = "torchvision:"
SETS = ("MNIST", "FashionMNIST", "KMNIST", "EMNIST")
SPLITS = ("byclass", "bymerge", "balanced", "letters", "digits", "mnist")  # of EMNIST


class Options(idx.IdxOptions):
    """torchvision:NAME, a set that torchvision has put on this disk"""

    PLACES: ClassVar[frozenset[str]] = frozenset({"root"})

    format: Literal["torchvision"] = "torchvision"
    path: str = Field(description=f"{PREFIX}NAME, one of {', '.join(SETS)}")
    root: str | None = Field(None, description="folder that torchvision keeps its data sets in")


def sniff(path: Path) -> bool:
    """Whether it is no path but the name of a set."""
    return str(path).startswith(PREFIX)


def read(options: Options, cache_dir: Path | None = None) -> Task:
    """MNIST, FashionMNIST, KMNIST, or one part of EMNIST (`torchvision:EMNIST/letters`) under `options.root`.

    EMNIST's images lie on their side, there and in torchvision; `options.transpose` sets them upright.
    Raises DataError when the set is unknown or not on the disk, saying which file is missing where.
    """
    if not options.path.startswith(PREFIX):
        raise DataError(f"The format 'torchvision' needs data.path: {PREFIX}NAME, one of {', '.join(SETS)}.")
    name, _, split = options.path.removeprefix(PREFIX).partition("/")
    if name not in SETS:
        raise DataError(f"data.path names the torchvision set {name!r}. Known are: {', '.join(SETS)}.")
    if name == "EMNIST" and split not in SPLITS:
        raise DataError(f"EMNIST has several parts: write {PREFIX}EMNIST/PART, one of {', '.join(SPLITS)}.")
    if name != "EMNIST" and split:
        raise DataError(f"{name} has no part {split!r}: write {PREFIX}{name}.")
    if options.root is None:
        raise DataError(
            f"{options.path} needs data.root: the folder that torchvision's `root` was, with {name}/raw."
        )
    folder = Path(options.root).expanduser() / name / "raw"
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
    return idx.task_of(files, folder, f"{name}-{split}" if split else name, options.transpose)


def read_unlabelled(
    path: Path,
    shape: tuple[int, int, int],
    targets: tuple[Target, ...],
    options: Options,
    cache_dir: Path | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A name tells no place on the disk: raises DataError that asks for the files."""
    raise DataError(f"To predict, give the file of images, not {path}: ROOT/NAME/raw/t10k-images-idx3-ubyte.")
