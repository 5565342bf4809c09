"""IDX, the format of MNIST's own files: a short header, then the numbers.

    bytes 0-1  zero      2  kind of number (8 = uint8)      3  number of dimensions D
    D times four bytes, big-endian: the dimensions          then the numbers, the last dimension fastest

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", section "File formats".
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from tune_digits.data.dataset import Dataset, Labelled, RowForm, Target, Task
from tune_digits.data.files.paths import existing, listing, open_bytes, readable
from tune_digits.data.labels import read_labels, with_targets
from tune_digits.data.options import DataOptions
from tune_digits.errors import DataError

KINDS = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
NAME = re.compile(
    r"(?P<set>.*?)-?(?P<part>train|t10k|test)-(?P<what>images|labels)[.-]idx\d-[a-z]+(\.gz)?", re.IGNORECASE
)


class IdxOptions(DataOptions):
    """Options of all that is read from IDX files."""

    transpose: bool = Field(False, description="swap rows and columns of IDX images, as EMNIST's files need")


class Options(IdxOptions):
    """MNIST's own files: train-images-idx3-ubyte and the like, plain or .gz"""

    format: Literal["idx"] = "idx"
    path: str = Field(description="folder with train-images-idx3-ubyte and its labels, or that file")


@dataclass(frozen=True, slots=True)
class IdxSet:
    """The files of one data set in a folder. name: what stands before 'train-images' ('emnist-letters'), or ''."""

    name: str
    train_images: Path | None = None
    train_labels: Path | None = None
    test_images: Path | None = None
    test_labels: Path | None = None


def read_idx(path: Path) -> np.ndarray:
    """The array in one file, plain or `.gz`: any of the format's kinds, big-endian ones as they are.

    Raises DataError for a missing or damaged file, a wrong header, and a body that is shorter or longer than the
    header says.
    """
    with readable(path), open_bytes(path) as (file, _):
        head = file.read(4)
        if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in KINDS or not 1 <= head[3] <= 8:
            packed = " It is gzip: name it .gz." if head[:2] == b"\x1f\x8b" else ""
            raise DataError(
                f"{path} does not start as IDX files do (two zero bytes, the kind of number, the dimensions), "
                f"but with {head.hex(' ') or 'nothing'}.{packed}"
            )
        sizes = file.read(4 * head[3])
        if len(sizes) < 4 * head[3]:
            raise DataError(f"{path} ends within its header. Copy or download it again.")
        shape = tuple(np.frombuffer(sizes, ">u4").tolist())
        kind = np.dtype(KINDS[head[2]])
        expected = math.prod(shape) * kind.itemsize
        said = f"its header says {'x'.join(map(str, shape))} = {expected:,} bytes"
        if expected == 0:
            raise DataError(f"{path} is empty: {said}.")
        # before memory is asked for: nothing packs better than a thousand to one
        most = path.stat().st_size * (1040 if path.suffix == ".gz" else 1)
        body = np.empty(expected if expected <= most else 0, np.uint8)
        count = 0
        while chunk := file.read(min(1 << 24, len(body) - count)):
            body[count : count + len(chunk)] = np.frombuffer(chunk, np.uint8)
            count += len(chunk)
        if count < expected:
            raise DataError(f"{path} is too short: {said}. Copy or download it again.")
        if file.read(1):
            raise DataError(f"{path} is too long: {said}, and there are more. Is it another file?")
    return body.view(kind).reshape(shape)


def read_images(path: Path, transpose: bool) -> np.ndarray:
    """uint8 (N, 1, H, W) from a file of uint8 (N, H, W), or (N, W, H) with `transpose`."""
    array = read_idx(path)
    if array.dtype != np.uint8 or array.ndim != 3:
        raise DataError(
            f"{path} holds {array.dtype.name} numbers in {array.ndim} dimension(s); images are uint8 in three: "
            f"number, height, width. Is it the file of labels?"
        )
    return np.ascontiguousarray(array.swapaxes(1, 2) if transpose else array)[:, None]


def find_sets(folder: Path) -> dict[str, IdxSet]:
    """The sets of IDX files in a folder, or else in its folder `raw`, by name; plain files before `.gz`.

    Names are as MNIST's: [NAME-]train-images-idx3-ubyte[.gz], -train-labels-idx1-, -t10k-images- (or test-).
    """
    for place in (folder, folder / "raw"):
        found: dict[str, dict[str, Path]] = {}
        # plain ones last: torchvision keeps both
        for path in sorted(
            place.iterdir() if place.is_dir() else (), key=lambda p: (p.suffix != ".gz", p.name)
        ):
            if (name := NAME.fullmatch(path.name)) and path.is_file():
                part = "train" if name["part"].lower() == "train" else "test"
                found.setdefault(name["set"], {})[f"{part}_{name['what'].lower()}"] = path
        if found:
            return {name: IdxSet(name, **files) for name, files in sorted(found.items())}
    return {}


def sniff(path: Path) -> bool:
    """Whether `path` is named as an IDX file, or a folder (or its `raw`) has such files."""
    return bool(find_sets(path)) if path.is_dir() else NAME.fullmatch(path.name) is not None


def read(options: Options, cache_dir: Path | None = None) -> Task:
    """The set in the folder `options.path`; where there are several, that of the training file `options.path`.

    ids are row numbers. Test labels, where there are any, make the test part scored.
    Raises DataError for anything missing, malformed or contradictory.
    """
    folder, files = _choose(existing(options.path))
    if files.name == "":
        folder = folder.parent if folder.name == "raw" else folder
        return task_of(files, folder, folder.resolve().name, options.transpose)
    return task_of(files, folder, files.name, options.transpose)


def task_of(files: IdxSet, folder: Path, name: str, transpose: bool) -> Task:
    """The task in one set of files; `folder` is for messages."""
    if files.train_images is None or files.train_labels is None:
        what = "images" if files.train_images is None else "labels"
        idx = "idx3" if what == "images" else "idx1"
        begin = f"{files.name}-" if files.name else ""
        raise DataError(
            f"{folder} has no file {begin}train-{what}-{idx}-ubyte, plain or .gz. It has: {listing(folder)}."
        )
    train = _labelled(files.train_images, files.train_labels, transpose)
    if files.test_images is None:
        return Task(name=name, train=train)
    if files.test_labels is not None:
        known = _labelled(files.test_images, files.test_labels, transpose)
        test: Dataset = with_targets(known, train.targets, files.test_labels)
    else:
        images = read_images(files.test_images, transpose)
        test = Dataset(images, None, np.arange(len(images)), train.targets)
    if test.images.shape[1:] != train.images.shape[1:]:
        own, other = ("x".join(map(str, d.images.shape[2:])) for d in (test, train))
        raise DataError(
            f"{files.test_images} has images of {own} pixels, but those of {files.train_images} have {other}."
        )
    return Task(name=name, train=train, test=test, submission=RowForm().of(test.ids))


def read_unlabelled(
    path: Path,
    shape: tuple[int, int, int],
    targets: tuple[Target, ...],
    options: Options,
    cache_dir: Path | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, 1, H, W) and row numbers (N,) of a file of images, or of a folder's test images.

    Raises DataError when they are missing, malformed, or not of the `shape` (C, H, W) of the model.
    """
    path = existing(path)
    if path.is_dir():
        _, files = _choose(path)
        if files.test_images is None:
            raise DataError(f"The folder {path} has no file t10k-images-idx3-ubyte. It has: {listing(path)}.")
        path = files.test_images
    images = read_images(path, options.transpose)
    if images.shape[1:] != tuple(shape):
        own, model = ("x".join(map(str, s)) for s in (images.shape[2:], (*shape[1:], shape[0])))
        raise DataError(f"{path} has grey images of {own} pixels, but the model was trained on {model}.")
    return images, np.arange(len(images))


def _choose(path: Path) -> tuple[Path, IdxSet]:
    folder = path if path.is_dir() else path.parent
    sets = find_sets(folder)
    if path.is_file():
        name = NAME.fullmatch(path.name)
        if name is None:
            raise DataError(f"{path} is not named as IDX files are: [NAME-]train-images-idx3-ubyte[.gz].")
        return folder, sets[name["set"]]
    if not sets:
        raise DataError(
            f"The folder {folder} has no IDX files (train-images-idx3-ubyte[.gz]). It has: {listing(folder)}."
        )
    files = next(iter(sets.values()))
    if len(sets) > 1:
        raise DataError(
            f"The folder {folder} has several sets: {', '.join(sets)}. Give the images to train on as "
            f"data.path, for instance {files.train_images or path / 'train-images-idx3-ubyte'}."
        )
    first = next(
        p for p in (files.train_images, files.train_labels, files.test_images, files.test_labels) if p
    )
    return first.parent, files


def _labelled(images_path: Path, labels_path: Path, transpose: bool) -> Labelled:
    images, labels = read_images(images_path, transpose), read_idx(labels_path)
    if labels.ndim != 1 or labels.dtype.kind not in "ui":
        raise DataError(
            f"{labels_path} holds {labels.dtype.name} numbers in {labels.ndim} dimension(s); labels are whole "
            f"numbers in one. Is it the file of images?"
        )
    if len(labels) != len(images):
        raise DataError(
            f"{labels_path} has {len(labels):,} labels, but {images_path} has {len(images):,} images."
        )
    classes, numbers = read_labels(labels.astype(str), labels_path)
    return Labelled(images, numbers[:, None], np.arange(len(images)), (Target("label", classes),))
