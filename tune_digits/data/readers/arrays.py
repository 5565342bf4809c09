"""NumPy's files (.npz, .npy), and arrays and tables in memory."""

from __future__ import annotations

import re
import zipfile
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np

from tune_digits.config import Data
from tune_digits.data.dataset import Dataset, RowForm, Target, Task
from tune_digits.data.files.paths import existing, listing
from tune_digits.data.files.pixel_csv import ID_NAMES, LABEL_NAMES, is_pixel, side_of
from tune_digits.data.labels import as_ids, read_labels, with_targets
from tune_digits.errors import DataError

CHUNK = 1 << 24  # numbers converted at a time
CHANNELS = ((1, 3), (2, 4))
IMAGES, LABELS = ("x", "images", "imgs"), ("y", "labels")
PARTS = {"": "train", "train": "train", "test": "test", "val": "val", "valid": "val"}


# ── from memory ──────────────────────────────────────────────────────────────────────────────────────


def to_images(x: Any, name: str = "x") -> np.ndarray:
    """uint8 (N, C, H, W), C-contiguous, from images in any of the forms of `Dataset.from_arrays`.

    Where (N, H, W, C) and (N, C, H, W) would both do, 1 or 3 channels go before 2 or 4, and C last before C
    first. uint8 in the right order is not copied.
    Raises DataError, with `name` in its message, for other shapes and values.
    """
    x = np.asarray(x)
    if x.ndim == 2 and (side := isqrt(x.shape[1])) ** 2 == x.shape[1]:
        x = x.reshape(len(x), 1, side, side) if x.size else x
    elif x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and (place := [axis for c in CHANNELS for axis in (3, 1) if x.shape[axis] in c]):
        x = np.moveaxis(x, place[0], 1)
    else:
        raise DataError(
            f"{name} has the shape {x.shape}. Images are (N, H, W), (N, H, W, C), (N, C, H, W) with 1 to 4 "
            f"channels, or flat (N, H*H)."
        )
    if not x.size:
        raise DataError(f"{name} has no images: its shape is {x.shape}.")
    if x.dtype == np.uint8:
        return np.ascontiguousarray(x)
    if x.dtype.kind not in "buif":
        raise DataError(f"{name} holds values of the kind {x.dtype}, not numbers.")
    step = max(1, CHUNK // x[0].size)
    parts = [slice(i, i + step) for i in range(0, len(x), step)]
    scale = 1
    if x.dtype.kind == "b" or (
        x.dtype.kind == "f" and all(x[p].min() >= 0 and x[p].max() <= 1 for p in parts)
    ):
        scale = 255
    images = np.empty(x.shape, np.uint8)
    for part in parts:
        values = x[part]
        values = np.rint(values * np.float32(255)) if scale == 255 else values
        # comparing refuses NaN as well
        good = (values >= 0) & (values <= 255) & (values == np.rint(values))
        if not good.all():
            row, *place = np.argwhere(~good)[0].tolist()
            pixel = f"channel {place[0]}, row {place[1]}, column {place[2]}"
            raise DataError(
                f"{name}, image {part.start + row} (from 0), {pixel}: the value is {values[(row, *place)]}. Pixels "
                f"are whole numbers from 0 to 255, or all of them are within 0 to 1."
            )
        images[part] = values
    return images


def to_text(values: Any, name: str) -> np.ndarray:
    """Labels or other facts of samples as text (N,): whole numbers without a point, missing ones ''."""
    values = np.asarray(values)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise DataError(f"{name} has the shape {values.shape}; one value for each image is expected.")
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind not in "biufUO":
        raise DataError(f"{name} holds values of the kind {values.dtype}; numbers or names are expected.")
    return np.array([_plain(value) for value in values.tolist()], dtype=str)


def _plain(value: Any) -> str:
    if isinstance(value, float):  # as columns of whole numbers with gaps are in pandas
        return "" if value != value else str(int(value)) if value.is_integer() else str(value)
    # pandas's NA and NaT
    return "" if value is None or type(value).__name__ in ("NAType", "NaTType") else str(value).strip()


def dataset_of(x: Any, y: Any = None, name: str = "x", label_name: str = "y") -> Dataset:
    """See `Dataset.from_arrays`; the names stand in error messages."""
    columns: dict[str, np.ndarray] = {}
    ids = None
    if hasattr(x, "columns"):
        table = x
        names = [str(c) for c in table.columns]
        pixels = [n for n in names if is_pixel(n)]
        if pixels:
            side_of(name, names)
            for column in (n for n in names if not is_pixel(n)):
                columns[column] = to_text(table.iloc[:, names.index(column)], f"{name}, column {column}")
            x = table.iloc[:, [i for i, n in enumerate(names) if is_pixel(n)]].to_numpy()
            ids = next((as_ids(v) for n, v in columns.items() if n.lower() in ID_NAMES), None)
            if y is None:
                y = next((v for n, v in columns.items() if n.lower() in LABEL_NAMES), None)
        else:
            x = table.to_numpy()
    images = to_images(x, name)
    labels, targets = None, ()
    if y is not None:
        heads = _heads(y, label_name)
        for text in heads.values():
            if len(text) != len(images):
                raise DataError(
                    f"{label_name} has {len(text):,} labels, but {name} has {len(images):,} images."
                )
        read = {head: read_labels(text, label_name) for head, text in heads.items()}
        labels = np.stack([numbers for _, numbers in read.values()], axis=1)
        targets = tuple(Target(head, classes) for head, (classes, _) in read.items())
    return Dataset(images, labels, np.arange(len(images)) if ids is None else ids, targets, columns=columns)


def _heads(y: Any, name: str) -> dict[str, np.ndarray]:
    """Labels as text (N,), by the name of their target."""
    if hasattr(y, "columns"):
        columns = {str(c): y.iloc[:, i] for i, c in enumerate(y.columns)}
    else:
        array = np.asarray(y)
        several = array.ndim == 2 and array.shape[1] > 1
        columns = {f"target{i}": array[:, i] for i in range(array.shape[1])} if several else {"label": array}
    if not columns:
        raise DataError(f"{name} has no columns.")
    return {head: to_text(values, f"{name}, {head}") for head, values in columns.items()}


# ── from files ───────────────────────────────────────────────────────────────────────────────────────


def matches(path: Path) -> bool:
    """Whether `path` is an .npz or .npy file, or a folder with such files named as images."""
    if path.is_file():
        return path.suffix in (".npz", ".npy")
    return any(_role(p.stem) is not None for p in [*path.glob("*.npz"), *path.glob("*.npy")])


def load(data: Data, cache_dir: Path | None = None) -> Task:
    """The task in one .npz file, or in a folder with a file per array.

    In an .npz file the arrays are x_train, y_train, x_test, y_test (as Keras names MNIST's), or x, y; images and
    labels stand for x and y as well, train_images for x_train, and val for a further set, a holdout. In a folder
    the same names are those of files, after an optional name of the set and with one array each:
    kmnist-train-imgs.npz, kmnist-train-labels.npz. Other arrays with one value per training image
    (writer_train, or writer) are columns. For images and labels see `Dataset.from_arrays`.

    Raises DataError for anything missing, damaged or contradictory; pickled arrays are not read.
    """
    if data.path is None:
        raise DataError(
            "The format 'arrays' needs data.path: an .npz file, or a folder with .npz or .npy files."
        )
    path = existing(data.path)
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

    def part(name: str) -> Dataset:
        x, y = roles[name, "x"], roles.get((name, "y"))
        shown = [f"{path}, {key}" for key in (x, y)]
        # popped: a copy in another form need not stand beside it
        return dataset_of(arrays.pop(x), None if y is None else arrays.pop(y), *shown)

    train = part("train")
    sets = {name: part(name) for name in ("test", "val") if (name, "x") in roles}
    for name, given in sets.items():
        if given.images.shape[1:] != train.images.shape[1:]:
            raise DataError(
                f"{path}: the images of {roles[name, 'x']} have the shape {given.images.shape[1:]}, but those of "
                f"{roles['train', 'x']} have {train.images.shape[1:]}."
            )
        where = f"{path}, {roles.get((name, 'y'))}"
        sets[name] = (
            Dataset(given.images, None, given.ids, train.targets)
            if given.labels is None
            else with_targets(given, train.targets, where)
        )
    for key, values in arrays.items():
        if values.ndim == 1 and len(values) == len(train) and _role(key) is None:
            train.columns[re.sub(r"_?train$", "", key) or key] = to_text(values, f"{path}, {key}")
    test, further = sets.get("test"), sets.get("val")
    return Task(
        name=path.resolve().name.split(".")[0],
        train=train,
        test=test,
        holdouts={}
        if further is None or further.labels is None or data.extra is not None
        else {"val": further},
        submission=None if test is None else RowForm.wide(train.targets).of(test.ids),
    )


def load_unlabelled(
    path: Path,
    shape: tuple[int, int, int],
    targets: tuple[Target, ...] = (),
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
