"""From a study's `data` part to a `Task`: what is it, and who reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np

from tune_digits.config import Cv, Data
from tune_digits.data import extra
from tune_digits.data.dataset import Dataset, Target, Task
from tune_digits.data.files.paths import existing, find_csv, is_csv, listing, readable, stem_of
from tune_digits.data.files.progress import Each, telling
from tune_digits.data.labels import with_targets
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
from tune_digits.errors import DataError

# in the order in which auto asks them
READERS: dict[str, ModuleType] = {
    "torchvision": torchvision_sets,
    "bengali": bengali,
    "idx": idx,
    "arrays": arrays,
    "kaggle_csv": kaggle_csv,
    "image_folder": image_folder,
    "class_folders": class_folders,
}
RESIZED = ("image_folder", "class_folders", "bengali")  # made to `data.size`, in `data.channels`
AS_IS = Data()
LOADERS: dict[str, Callable[[Data, Path | None], Task]] = {
    "digits": digits.load,
    **{name: reader.load for name, reader in READERS.items()},
}


def load_task(data: Data, cv: Cv, cache_dir: Path | None = None, each: Each | None = None) -> Task:
    """Read what `data` names, with its extra sets; `cv.groups` says which samples belong together.

    With no path it is scikit-learn's digits. `cache_dir` keeps parsed copies of large text files (see
    `cache.py`). `each(name of the file, part done 0..1)` is called while a large file is read. `data.subset` is
    not applied here: the final training wants all rows.

    Raises DataError when a path is missing, of no known format, or its content is not what it should be.
    """
    with telling(each), readable(Path(data.path or ".")):
        task = _read(data, cache_dir)
        for target, column in zip(task.targets, task.train.labels.T, strict=True):
            if len(target.classes) < 2 or column.min() == column.max():
                raise DataError(
                    f"{data.path} has one class only, {target.classes[column[0]]!r}"
                    f"{f' of {target.name}' if len(task.targets) > 1 else ''}. "
                    f"There must be two or more to tell apart."
                )
        sets: dict[str, dict[str, Dataset]] = {"holdout": dict(task.holdouts), "train": {}}
        for entry in data.extra or ():
            where = None if data.path is None else Path(data.path).expanduser()
            path = extra.locate(entry, where)
            if stem_of(path) in sets["holdout"] | sets["train"]:
                raise DataError(f"data.extra names the set {stem_of(path)!r} twice.")
            sets[entry.role][stem_of(path)] = _read_extra(path, data, task.train, cache_dir)
    return replace(
        task,
        train=extra.joined(task.train, sets["train"], cv),
        holdouts=sets["holdout"],
        joined={name: len(part) for name, part in sets["train"].items()},
    )


def load_unlabelled(
    path: Path,
    shape: tuple[int, int, int],
    targets: tuple[Target, ...] = (),
    cache_dir: Path | None = None,
    data: Data = AS_IS,
) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, C, H, W) and ids (N,) of a file or folder of any format; labels are ignored.

    `shape` is the (C, H, W) that the model was trained on; `data` says how its images were read (size, crop,
    transpose). Raises DataError as `load_task` does.
    """
    if data.transpose:
        shape = (shape[0], shape[2], shape[1])
    with readable(Path(path)):
        name = detect(path)
        how = {"data": data} if name in RESIZED else {}
        images, ids = READERS[name].load_unlabelled(Path(path), shape, targets, cache_dir, **how)
    return (_upright(images) if data.transpose else images), ids


def detect(path: str | Path | None) -> str:
    """The format of a file or folder, by names and headers. Raises DataError where it is none of them."""
    if path is None:
        return "digits"
    if torchvision_sets.matches(path):
        return "torchvision"
    path = existing(path)
    for name, reader in READERS.items():
        if reader.matches(path):
            return name
    if is_csv(path) or (path.is_dir() and find_csv(path, "train") is not None):
        return "kaggle_csv"  # whose reader says what is wrong with it
    found = f"the folder {path}, which has: {listing(path)}" if path.is_dir() else f"the file {path}"
    raise DataError(
        f"Cannot tell how to read {found}. Known are folders in Kaggle's form (train.csv, test.csv, "
        f"sample_submission.csv) with pixel columns, image paths or Bengali.ai's parquet files; such a train.csv "
        f"by itself, .csv.gz and .zip too; a folder of images per class; IDX files (train-images-idx3-ubyte); "
        f"NumPy's .npz and .npy (x_train, y_train); torchvision:NAME."
    )


def _read(data: Data, cache_dir: Path | None) -> Task:
    name = detect(data.path) if data.format == "auto" else data.format
    if name not in RESIZED and (data.size is not None or data.channels != "auto" or data.crop):
        raise DataError(
            f"data.size, data.channels and data.crop are for {', '.join(RESIZED)}; {data.path or name} is "
            f"{name}, whose pixels are taken as they are. Leave them out."
        )
    if data.crop and name != "bengali":
        raise DataError(
            f"data.crop is for bengali; {data.path} is {name}, whose images are not cut. Leave it out."
        )
    task = LOADERS[name](data, cache_dir)
    if not data.transpose:
        return task
    return replace(
        task,
        train=replace(task.train, images=_upright(task.train.images)),
        test=None if task.test is None else replace(task.test, images=_upright(task.test.images)),
        holdouts={n: replace(d, images=_upright(d.images)) for n, d in task.holdouts.items()},
    )


def _read_extra(path: Path, data: Data, train: Dataset, cache_dir: Path | None) -> Dataset:
    how: dict[str, object] = {"path": str(path), "format": "auto", "extra": ()}
    if detect(path) not in RESIZED:
        how |= {"size": None, "channels": "auto", "crop": False}
    elif train.images.shape[1] in (1, 3):  # grey or colour as the training images, not as its own
        how["channels"] = train.images.shape[1]
    part = _read(data.model_copy(update=how), cache_dir).train
    if part.images.shape[1:] != train.images.shape[1:]:
        own, other = ("x".join(map(str, (*i.shape[2:], i.shape[1]))) for i in (part.images, train.images))
        raise DataError(f"{path} has images of {own} pixels, but those of the training set have {other}.")
    return with_targets(part, train.targets, path)


def _upright(images: np.ndarray) -> np.ndarray:
    """(N, C, H, W) -> (N, C, W, H), contiguous."""
    return np.ascontiguousarray(images.swapaxes(2, 3))
