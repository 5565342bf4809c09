"""From a study's `data` part to a `Task`, and from new files to images for a trained model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from tune_digits.config import Cv
from tune_digits.data import extra
from tune_digits.data.dataset import Labelled, Target, Task
from tune_digits.data.files.archive import as_folder
from tune_digits.data.files.paths import readable, stem_of
from tune_digits.data.files.progress import Listener, telling
from tune_digits.data.folds.split import groups_of
from tune_digits.data.folds.untouched import set_aside
from tune_digits.data.formats import Auto, reading_alike, resolve
from tune_digits.data.labels import with_targets
from tune_digits.data.options import DataOptions
from tune_digits.data.readers import READERS
from tune_digits.errors import DataError

AS_IS = Auto()


def load_task(data: DataOptions, cv: Cv, cache_dir: Path | None = None, each: Listener | None = None) -> Task:
    """Read what `data` names, with its extra sets; `cv.groups` says which samples belong together, and `cv.untouched`
    which of them are set aside.

    With no path it is scikit-learn's digits; a zip archive is read as the folder that it holds. `cache_dir` keeps
    parsed copies of large files (see `files/cache.py`) and what was unpacked. `each(name of the file, fraction read
    0..1)` is called while a large file is read. `data.subset` is not applied here: the final training wants all rows.

    Raises DataError when a path is missing, of no known format, or its content is not what it should be.
    """
    with telling(each), readable(Path(data.path or ".")), _unpacked(data, cache_dir) as data:
        options = resolve(data)
        task = READERS[options.format].read(options, cache_dir)
        _refuse_one_class(task.train, data.path or options.format)
        sets: dict[str, dict[str, Labelled]] = {"holdout": dict(task.holdouts), "train": {}}
        for entry in options.extra or ():
            path = extra.locate(entry, None if data.path is None else Path(data.path).expanduser())
            if stem_of(path) in sets["holdout"] | sets["train"]:
                raise DataError(f"data.extra names the set {stem_of(path)!r} twice.")
            train, what = task.train, "those of the training set have"
            sets[entry.role][stem_of(path)] = _read_alike(
                path, options, train.images.shape[1:], train.targets, what, cache_dir
            )
    whole = replace(
        task,
        train=extra.joined(task.train, sets["train"], cv),
        holdouts=sets["holdout"],
        joined={name: len(part) for name, part in sets["train"].items()},
    )
    return set_aside(whole, cv)


def task_in_memory(train: Labelled, cv: Cv) -> Task:
    """The task of a labelled set in memory, with the groups and untouched rows that `load_task` gives those of files.

    Raises DataError as `load_task` does.
    """
    _refuse_one_class(train, "The training set")
    return set_aside(Task("arrays in memory", replace(train, groups=groups_of(train, cv))), cv)


def load_unlabelled(
    path: Path,
    shape: tuple[int, int, int],
    targets: tuple[Target, ...] = (),
    cache_dir: Path | None = None,
    data: DataOptions = AS_IS,
) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, C, H, W) and ids (N,) of a file or folder of any format; labels are ignored.

    `shape` is the (C, H, W) that the model was trained on; `data` says how its training images were read (size, crop,
    transpose). Raises DataError as `load_task` does, and where the images cannot be read in that way.
    """
    path = Path(path)
    with readable(path), as_folder(path, cache_dir) as path:
        options = reading_alike(data, path)
        return READERS[options.format].read_unlabelled(path, shape, targets, options, cache_dir)


def load_labelled(
    path: Path,
    shape: tuple[int, int, int],
    targets: tuple[Target, ...],
    cache_dir: Path | None = None,
    data: DataOptions = AS_IS,
) -> Labelled:
    """Images with labels, of a file or folder of any format, as `load_unlabelled` reads them: the truth to score by.

    Labels are numbered as `targets` numbers their classes. Raises DataError as `load_task` does, for a class that is
    not among them, and for images of another shape.
    """
    path = Path(path)
    with readable(path):
        return _read_alike(path, data, shape, targets, "the model was trained on", cache_dir)


@contextmanager
def _unpacked(data: DataOptions, cache_dir: Path | None) -> Iterator[DataOptions]:
    """The options, with the folder that a zip archive holds in place of its path."""
    if data.path is None:
        yield data
        return
    path = Path(data.path).expanduser()
    with as_folder(path, cache_dir) as folder:
        yield data if folder == path else data.model_copy(update={"path": str(folder)})


def _refuse_one_class(train: Labelled, path: str) -> None:
    for target, column in zip(train.targets, train.labels.T, strict=True):
        if len(target.classes) < 2 or column.min() == column.max():
            of = f" of {target.name}" if len(train.targets) > 1 else ""
            raise DataError(
                f"{path} has one class only, {target.classes[column[0]]!r}{of}. There must be two or more to tell "
                f"apart."
            )


def _read_alike(
    path: Path,
    options: DataOptions,
    shape: tuple[int, ...],
    targets: tuple[Target, ...],
    what: str,
    cache_dir: Path | None,
) -> Labelled:
    """Labelled images (C, H, W) `shape`, with the labels that `targets` has; `what` had that shape, for the message."""
    with as_folder(path, cache_dir) as folder:
        own = reading_alike(options, folder, channels=shape[0])
        part = READERS[own.format].read(own, cache_dir).train
    if part.images.shape[1:] != tuple(shape):
        own_size, size = ("x".join(map(str, (h, w, c))) for c, h, w in (part.images.shape[1:], shape))
        raise DataError(f"{path} has images of {own_size} pixels, but {what} {size}.")
    return with_targets(part, targets, path)
