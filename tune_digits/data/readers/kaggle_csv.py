"""Kaggle's competitions of grey images in pixel CSVs: a folder with train.csv and what goes with it.

Two dialects, told apart by their headers: Kannada-MNIST (`label,pixel0..`, test `id,pixel0..`) and Digit
Recognizer (`label,pixel0..`, test bare `pixel0..`, ids counted from 1). The files' own form: `pixel_csv.py`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from tune_digits.data.dataset import Dataset, Labelled, RowForm, SubmissionFormat, Target, Task
from tune_digits.data.files.paths import (
    columns_seen,
    existing,
    find_csv,
    is_csv,
    listing,
    read_header,
    stem_of,
)
from tune_digits.data.files.pixel_csv import (
    PixelTable,
    id_column,
    is_pixel,
    label_column,
    read_pixel_csv,
)
from tune_digits.data.files.sample_submission import read_submission_format
from tune_digits.data.labels import read_labels, refuse_bad_ids, with_targets
from tune_digits.data.options import DataOptions
from tune_digits.errors import DataError


class Options(DataOptions):
    """Kaggle's CSV files of pixels: train.csv with label,pixel0,.., test.csv; .csv, .csv.gz or .zip"""

    format: Literal["kaggle_csv"] = "kaggle_csv"
    path: str = Field(description="folder with train.csv, or a training file")


def sniff(path: Path) -> bool:
    """Whether the CSV file `path`, or train.csv or test.csv of the folder, has pixel columns."""
    if path.is_dir():
        path = find_csv(path, "train") or find_csv(path, "test") or path
    return is_csv(path) and any(map(is_pixel, read_header(path)))


def read(options: Options, cache_dir: Path | None = None) -> Task:
    """The task in the folder `options.path`, or in that one training file.

    A folder holds train.csv, and where there are any: test.csv, sample_submission.csv, and (with `options.extra`
    None) further labelled files with the training file's pixels, which become holdouts named by their stem.
    Without a sample submission the form is the dialect's own. The classes are the training file's distinct
    labels.

    Raises DataError for anything missing, malformed or contradictory, with the file and the row.
    """
    path = existing(options.path)
    folder, train_path = (path.parent, path) if path.is_file() else (path, find_csv(path, "train"))
    if train_path is None:
        raise DataError(f"The folder {path} has no train.csv or train.csv.gz. It has: {listing(path)}.")
    train = _read_labelled(train_path, cache_dir)
    test, submission = None, None
    if path.is_dir() and (test_path := find_csv(path, "test")) is not None:
        test = _test(test_path, train, cache_dir)
        submission = _submission(path, test, test_path)
    # beside a single training file nothing is taken for granted
    further = _further_sets(folder, train_path) if path.is_dir() and options.extra is None else []
    return Task(
        name=(folder if path.is_dir() else path).resolve().name.split(".")[0],
        train=train,
        test=test,
        holdouts={stem_of(p): with_targets(_read_labelled(p, cache_dir), train.targets, p) for p in further},
        submission=submission,
    )


def read_unlabelled(
    path: Path,
    shape: tuple[int, int, int],
    targets: tuple[Target, ...],
    options: Options,
    cache_dir: Path | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, 1, H, W) and ids (N,) of a test file, or of a folder's; labels are ignored.

    `shape` is the (C, H, W) that the model was trained on. A file without an id column has the ids 1, 2, .. as
    Digit Recognizer counts them.

    Raises DataError when the file is missing, malformed, or of another image size.
    """
    path = existing(path)
    if path.is_dir():
        found = find_csv(path, "test")
        if found is None:
            raise DataError(f"The folder {path} has no test.csv or test.csv.gz. It has: {listing(path)}.")
        path = found
    table = read_pixel_csv(path, cache_dir)
    if table.images.shape[1:] != tuple(shape):
        channels, height, width = shape
        raise DataError(
            f"{path} has grey images of {_size(table.images)} pixels, but the model was trained on "
            f"{height}x{width} with {channels} channel(s)."
        )
    return table.images, _test_ids(table)


def _read_labelled(path: Path, cache_dir: Path | None) -> Labelled:
    header = read_header(path)
    label = label_column(header)
    if label is None:
        raise DataError(f"{path} has no column named 'label'. Its columns: {columns_seen(header)}.")
    return _labelled(read_pixel_csv(path, cache_dir), label)


def _labelled(table: PixelTable, label: str) -> Labelled:
    classes, labels = read_labels(table.columns[label], table.path)
    return Labelled(
        images=table.images,
        labels=labels[:, None],
        ids=np.arange(len(table)) if table.ids is None else table.ids,
        targets=(Target("label", classes),),
        columns=table.columns,
    )


def _test(path: Path, train: Dataset, cache_dir: Path | None) -> Dataset:
    table = read_pixel_csv(path, cache_dir)
    if table.images.shape[1:] != train.images.shape[1:]:
        raise DataError(
            f"{path} has images of {_size(table.images)} pixels, but those of the training file have "
            f"{_size(train.images)}."
        )
    ids = _test_ids(table)
    label = label_column(table.columns)
    if label is not None:
        return replace(with_targets(_labelled(table, label), train.targets, path), ids=ids)
    return Dataset(table.images, None, ids, train.targets, columns=table.columns)


def _test_ids(table: PixelTable) -> np.ndarray:
    if table.ids is None:
        return np.arange(1, 1 + len(table), dtype=np.int64)
    refuse_bad_ids(table.path, table.ids)
    return table.ids


def _submission(folder: Path, test: Dataset, test_path: Path) -> SubmissionFormat:
    named = id_column(read_header(test_path)) is not None
    form = RowForm() if named else RowForm("ImageId", ("Label",))
    return read_submission_format(folder, form.of(test.ids), test_path)


def _size(images: np.ndarray) -> str:
    return "x".join(str(n) for n in images.shape[2:])


def _further_sets(folder: Path, train_path: Path) -> list[Path]:
    """The other files of the folder with labels and the same pixel columns."""
    pixels = set(filter(is_pixel, read_header(train_path)))
    found: list[Path] = []
    for path in sorted(filter(is_csv, folder.iterdir())):
        # a zip need not be data at all
        if path == train_path or stem_of(path) in ("test", "sample_submission") or path.suffix == ".zip":
            continue
        columns = read_header(path)
        if label_column(columns) is not None and pixels == set(filter(is_pixel, columns)):
            found.append(path)
    for path in found:
        find_csv(folder, stem_of(path))  # refuses the same file twice, plain and compressed
    return found
