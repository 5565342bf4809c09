"""One folder per class, as torchvision's ImageFolder and many sets of scans have it.

    train/<class>/*.png     or the class folders directly; images may lie deeper inside
    test/*                  images without labels; with labels where all lie in folders named as the classes
    val/<class>/*.png       any further folder with the same classes: a holdout

Names that begin with a dot and files that are no images are passed over; the latter are counted in a warning of the
logger "tune_digits".
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from tune_digits.data.dataset import Dataset, Labelled, RowForm, SubmissionFormat, Target, Task
from tune_digits.data.files.image_files import Conversion, is_image_name, read_image_files
from tune_digits.data.files.paths import existing, find_csv, listing
from tune_digits.data.files.sample_submission import read_submission_format
from tune_digits.data.files.text_table import read_text_table
from tune_digits.data.labels import read_labels, with_targets
from tune_digits.data.options import ImageOptions
from tune_digits.errors import DataError

_log = logging.getLogger("tune_digits")


class Options(ImageOptions):
    """a folder of images per class: train/CLASS/*.png, test/*"""

    format: Literal["class_folders"] = "class_folders"
    path: str = Field(description="folder with train/CLASS/*.png, or with the folders of the classes")


def sniff(path: Path) -> bool:
    """Whether `path` is an image file, or a folder of images, of class folders, or with train/ or test/ so."""
    if not path.is_dir():
        return is_image_name(path.name) and path.is_file()
    return any(_holds_images(p, deep=2) for p in (path / "train", path / "test", path) if p.is_dir())


def read(options: Options, cache_dir: Path | None = None) -> Task:
    """The task in the folder `options.path`.

    Classes are the folders' names, in numeric order where all are whole numbers, else in alphabetical order. ids are
    paths from the set's own folder on. Images are made to `options.size` and `options.channels`, those of the test
    data and the holdouts to the training images' height, width and channels.

    Raises DataError for an empty class, test images of unknown classes, images that cannot be read, and more.
    """
    path = existing(options.path)
    train_folder = path / "train" if (path / "train").is_dir() else path
    train = _read_labelled(train_folder, Conversion.of(options), cache_dir)
    # all other sets are made to the height, width and channels of the training images
    alike = Conversion.to(train.images.shape[1:], options)
    test: Dataset | None = None
    submission, holdouts = None, {}
    if train_folder != path:
        classes = set(train.targets[0].classes)
        for folder in sorted(p for p in path.iterdir() if p.is_dir() and not _hidden(p.name)):
            inside = {p.name for p in folder.iterdir() if p.is_dir() and not _hidden(p.name)}
            if folder.name == "test":
                if inside and inside <= classes and not _images_in(folder):
                    test = with_targets(_read_labelled(folder, alike, cache_dir), train.targets, folder)
                else:
                    test = _read_plain(folder, alike, cache_dir, train.targets)
                submission = _submission(path, test, folder)
            elif folder != train_folder and options.extra is None and inside and inside <= classes:
                part = _read_labelled(folder, alike, cache_dir)
                holdouts[folder.name] = with_targets(part, train.targets, folder)
    return Task(path.resolve().name, train, test, holdouts, submission)


def read_unlabelled(
    path: Path,
    shape: tuple[int, int, int],
    targets: tuple[Target, ...],
    options: Options,
    cache_dir: Path | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, C, H, W) and ids (N,) of one file, of a folder's test/, or of all images in a folder.

    `shape` is the (C, H, W) that the model was trained on; images of another size are resized where `options.size`
    was given for the training. ids are paths from the folder on. Raises DataError as `read` does.
    """
    path = existing(path)
    wanted = Conversion.to(shape, options)
    if path.is_file():
        return read_image_files(path.parent, [path.name], wanted, cache_dir), np.array([path.name])
    folder = path / "test" if (path / "test").is_dir() else path
    part = _read_plain(folder, wanted, cache_dir, targets)
    return part.images, part.ids


def _hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))


def _images_in(folder: Path) -> list[Path]:
    """The image files directly in a folder."""
    return [p for p in folder.iterdir() if is_image_name(p.name) and not _hidden(p.name)]


def _holds_images(folder: Path, deep: int) -> bool:
    """Whether there is an image in a folder, or in folders inside, `deep` levels in all. Stops at the first."""
    below = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if _hidden(entry.name):
                continue
            if entry.is_dir():
                below.append(Path(entry.path))
            elif is_image_name(entry.name):
                return True
    return deep > 1 and any(_holds_images(b, deep - 1) for b in below)


def _walk(folder: Path) -> list[str]:
    """The paths of all images in a folder and below, from it on, in order; other files are counted in a warning."""
    found: list[str] = []
    others: list[str] = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not _hidden(f))
        for file in sorted(f for f in files if not _hidden(f)):
            name = os.path.relpath(os.path.join(place, file), folder)
            (found if is_image_name(file) else others).append(name)
    if others:
        _log.warning(
            "%s: %s files are no images and are passed over, for instance %s.", folder, len(others), others[0]
        )
    return found


def _read_labelled(folder: Path, conversion: Conversion, cache_dir: Path | None) -> Labelled:
    """A folder of class folders, with its own classes."""
    folders = sorted(p.name for p in folder.iterdir() if p.is_dir() and not _hidden(p.name))
    loose = _images_in(folder)
    if loose:
        raise DataError(
            f"{folder} has images outside of its class folders, for instance {loose[0].name}. Move each into the "
            f"folder of its class: {folder.name}/<class>/{loose[0].name}."
        )
    if not folders:
        raise DataError(
            f"{folder} has no class folders. Expected are {folder.name}/<class>/*.png. It has: {listing(folder)}."
        )
    names, labels = [], []
    for name in folders:
        inside = _walk(folder / name)
        if not inside:
            raise DataError(
                f"The class folder {folder / name} has no images. It has: {listing(folder / name)}. Fill it, or remove "
                f"it; a folder that is no class may begin with a dot."
            )
        names += [f"{name}/{file}" for file in inside]
        labels += [name.strip()] * len(inside)
    classes, numbers = read_labels(np.array(labels), folder)
    return Labelled(
        images=read_image_files(folder, names, conversion, cache_dir),
        labels=numbers[:, None],
        ids=np.array(names),
        targets=(Target("label", classes),),
        columns={"image": np.array(names), "label": np.array(labels)},
    )


def _read_plain(
    folder: Path, conversion: Conversion, cache_dir: Path | None, targets: tuple[Target, ...]
) -> Dataset:
    names = _walk(folder)
    if not names:
        raise DataError(f"The folder {folder} has no images. It has: {listing(folder)}.")
    images = read_image_files(folder, names, conversion, cache_dir)
    return Dataset(images, None, np.array(names), targets, columns={"image": np.array(names)})


def _submission(path: Path, test: Dataset, folder: Path) -> SubmissionFormat:
    """Rows by path, or where a sample submission has them so, by file names without their endings."""
    sample = find_csv(path, "sample_submission")
    stems = sample is not None and not is_image_name(next(iter(read_text_table(sample).values()))[0])
    return read_submission_format(path, RowForm(stems=stems).of(test.ids), folder)
