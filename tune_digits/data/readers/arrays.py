"""NumPy's files: .npz and .npy."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from tune_digits.data.dataset import Dataset, Labelled, RowForm, Target, Task
from tune_digits.data.files.paths import existing, listing
from tune_digits.data.labels import with_targets
from tune_digits.data.memory import from_arrays, to_images, to_text
from tune_digits.data.options import DataOptions
from tune_digits.errors import DataError

IMAGES, LABELS = ("x", "images", "imgs"), ("y", "labels")
PARTS = {"": "train", "train": "train", "test": "test", "val": "val", "valid": "val"}


class Options(DataOptions):
    """NumPy's .npz with x_train, y_train, x_test, or a folder with an .npz or .npy file per array"""

    format: Literal["arrays"] = "arrays"
    path: str = Field(description=".npz file with x_train and y_train, or a folder with .npz or .npy files")


def sniff(path: Path) -> bool:
    """Whether `path` is an .npz or .npy file, or a folder with such files named as images."""
    if path.is_file():
        return path.suffix in (".npz", ".npy")
    return any(_role(p.stem) is not None for p in [*path.glob("*.npz"), *path.glob("*.npy")])


def read(options: Options, cache_dir: Path | None = None) -> Task:
    """The task in one .npz file, or in a folder with a file per array.

    In an .npz file the arrays are x_train, y_train, x_test, y_test (as Keras names MNIST's), or x, y; images and
    labels stand for x and y as well, train_images for x_train, and val for a further set, a holdout. In a folder
    the same names are those of files, after an optional name of the set and with one array each:
    kmnist-train-imgs.npz, kmnist-train-labels.npz. Other arrays with one value per training image
    (writer_train, or writer) are columns. For images and labels see `memory.from_arrays`.

    Raises DataError for anything missing, damaged or contradictory; pickled arrays are not read.
    """
    path = existing(options.path)
    arrays = _read_folder(path) if path.is_dir() else _read_file(path)
    roles: dict[tuple[str, str], str] = {}
    for key in arrays:
        if (role := _role(key)) is not None:
            if role in roles:
                raise DataError(f"{path} has both {roles[role]} and {key}. Keep one of them.")
            roles[role] = key
    for what, name in (("x", "x_train"), ("y", "y_train")):
        if ("train", what) not in roles:
            raise DataError(f"{path} has no array {name}. Its arrays: {', '.join(arrays) or 'none'}.")

    x, y = roles["train", "x"], roles["train", "y"]
    # popped: a copy in another form need not stand beside it
    train = from_arrays(arrays.pop(x), arrays.pop(y), f"{path}, {x}", f"{path}, {y}")
    sets: dict[str, Dataset] = {}
    for name in ("test", "val"):
        if (name, "x") not in roles:
            continue
        x, known = roles[name, "x"], roles.get((name, "y"))
        if known is None:
            given = from_arrays(arrays.pop(x), name=f"{path}, {x}")
        else:
            given = from_arrays(arrays.pop(x), arrays.pop(known), f"{path}, {x}", f"{path}, {known}")
        if given.images.shape[1:] != train.images.shape[1:]:
            raise DataError(
                f"{path}: the images of {roles[name, 'x']} have the shape {given.images.shape[1:]}, but those of "
                f"{roles['train', 'x']} have {train.images.shape[1:]}."
            )
        sets[name] = (
            with_targets(given, train.targets, f"{path}, {roles[name, 'y']}")
            if isinstance(given, Labelled)
            else Dataset(given.images, None, given.ids, train.targets)
        )
    for key, values in arrays.items():
        if values.ndim == 1 and len(values) == len(train) and _role(key) is None:
            train.columns[re.sub(r"_?train$", "", key) or key] = to_text(values, f"{path}, {key}")
    test, further = sets.get("test"), sets.get("val")
    return Task(
        name=path.resolve().name.split(".")[0],
        train=train,
        test=test,
        holdouts={"val": further} if isinstance(further, Labelled) and options.extra is None else {},
        submission=None if test is None else RowForm.wide(train.targets).of(test.ids),
    )


def read_unlabelled(
    path: Path,
    shape: tuple[int, int, int],
    targets: tuple[Target, ...],
    options: Options,
    cache_dir: Path | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, C, H, W) and row numbers (N,): the test images, or the only images there are.

    Raises DataError when they are missing, damaged, or not of the `shape` (C, H, W) of the model.
    """
    path = existing(path)
    arrays = _read_folder(path) if path.is_dir() else _read_file(path)
    roles = {_role(key): key for key in arrays}
    key = roles.get(("test", "x")) or roles.get(("train", "x"))
    if key is None and len(arrays) == 1:
        key = next(iter(arrays))
    if key is None:
        raise DataError(f"{path} has no array x_test or x. Its arrays: {', '.join(arrays) or 'none'}.")
    images = to_images(arrays[key], f"{path}, {key}")
    if images.shape[1:] != tuple(shape):
        raise DataError(
            f"{path}: the images of {key} have the shape {images.shape[1:]}, but the model was trained on "
            f"{tuple(shape)} (channels, height, width)."
        )
    return images, np.arange(len(images))


def _role(key: str) -> tuple[str, str] | None:
    """('train' | 'test' | 'val', 'x' | 'y') that an array's name stands for, or None.

    Known: x, x_train, train_images, kmnist-train-imgs, X_kannada_MNIST_train.
    """
    words = [w for w in re.split(r"[^a-z0-9]+", key.lower()) if w]
    what = [w for w in words if w in IMAGES + LABELS]
    parts = {PARTS[w] for w in words if w in PARTS}
    if len(what) != 1 or len(parts) > 1 or (not parts and len(words) > 1):
        return None
    return (parts.pop() if parts else "train"), ("x" if what[0] in IMAGES else "y")


def _read_file(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".npy":
        return {path.stem: _load(path)[""]}
    return _load(path)


def _read_folder(folder: Path) -> dict[str, np.ndarray]:
    """The one array of each file, by the file's name; only those whose names say what they are."""
    arrays: dict[str, np.ndarray] = {}
    for path in sorted([*folder.glob("*.npz"), *folder.glob("*.npy")]):
        if _role(path.stem) is None:
            continue
        held = _load(path)
        if len(held) != 1:
            raise DataError(
                f"{path} has {len(held)} arrays ({', '.join(held)}). In a folder, each file has one; an .npz file "
                f"with all of them can be data.path itself."
            )
        if path.stem in arrays:
            raise DataError(f"{folder} has both {path.stem}.npy and {path.stem}.npz. Keep one of them.")
        arrays[path.stem] = next(iter(held.values()))
    if not arrays:
        raise DataError(
            f"The folder {folder} has no files x_train.npy, y_train.npy (or .npz). It has: {listing(folder)}."
        )
    return arrays


def _load(path: Path) -> dict[str, np.ndarray]:
    """All arrays of one file by name; that of an .npy file is ''."""
    try:
        with open(path, "rb") as file:
            if path.suffix == ".npy":
                return {"": np.lib.format.read_array(file, allow_pickle=False)}
            if not zipfile.is_zipfile(file):
                raise zipfile.BadZipFile("not a zip file")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                return {name: np.asarray(archive[name]) for name in archive.files}
    except FileNotFoundError:
        raise DataError(f"There is no file {path}.") from None
    except Exception as error:  # damage shows in many kinds of errors; a fuzz test found tokenize.TokenError
        if "pickle" in str(error).lower():
            raise DataError(
                f"{path} holds Python objects, which are not read: they could run code. Save plain arrays."
            ) from error
        raise DataError(f"{path} is damaged or not one of NumPy's files: {error}.") from error
