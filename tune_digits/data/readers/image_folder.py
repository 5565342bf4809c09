"""A table of image paths and labels beside the images, as in Kaggle's Classify Leaves.

    train.csv               image,label     images/0.jpg,tomato_late_blight    (paths from the table's folder on)
    test.csv                image
    sample_submission.csv   image,label

The column of images is the first one whose cells end like image files, or one named `image`, `path` and the like.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from tune_digits.data.dataset import Dataset, Labelled, RowForm, Target, Task
from tune_digits.data.files.image_files import Conversion, is_image_name, read_image_files
from tune_digits.data.files.paths import (
    columns_seen,
    existing,
    find_csv,
    is_csv,
    listing,
    open_text,
    read_header,
    readable,
    stem_of,
)
from tune_digits.data.files.pixel_csv import is_pixel
from tune_digits.data.files.sample_submission import read_submission_format
from tune_digits.data.files.text_table import column_of, read_text_table
from tune_digits.data.labels import as_ids, read_labels, refuse_bad_ids, with_targets
from tune_digits.data.options import ImageOptions
from tune_digits.errors import DataError

IMAGE_NAMES = (
    *("image", "images", "img", "file", "filename", "file_name", "filepath", "file_path", "path"),
    *("image_path", "image_file", "image_name"),
)
LABEL_NAMES = ("label", "class", "target", "category", "species")


class Options(ImageOptions):
    """a table with a path of an image and a label in each row: train.csv, test.csv, and the images beside them"""

    format: Literal["image_folder"] = "image_folder"
    path: str = Field(description="folder with train.csv and the images, or a training table")


def sniff(path: Path) -> bool:
    """Whether the CSV file `path`, or train.csv or test.csv of the folder, has a column of image paths."""
    if path.is_dir():
        path = find_csv(path, "train") or find_csv(path, "test") or path
    return is_csv(path) and _image_column(path) is not None


def read(options: Options, cache_dir: Path | None = None) -> Task:
    """The task in the folder `options.path`, or in that one training table.

    The label is the column that the sample submission names, else `label` (`class`, `target`, `category`, `species`),
    else the only column that test.csv lacks. With `options.extra` None further tables with both columns become
    holdouts, named by their stem. ids are the paths as the table writes them. Images are made to `options.size`
    and `options.channels`; those of the test data and the holdouts to the training images' height, width and channels.

    Raises DataError for anything missing, malformed or contradictory, with the file and the row.
    """
    path = existing(options.path)
    folder, train_path = (path.parent, path) if path.is_file() else (path, find_csv(path, "train"))
    if train_path is None:
        raise DataError(f"The folder {path} has no train.csv. It has: {listing(path)}.")
    test_path = find_csv(path, "test") if path.is_dir() else None
    images = _named_image_column(train_path)
    label = _label_column(train_path, test_path, images)
    train = _read_labelled(train_path, images, label, Conversion.of(options), cache_dir)
    # all other sets are made to the height, width and channels of the training images
    alike = Conversion.to(train.images.shape[1:], options)
    test: Dataset | None = None
    submission = None
    if test_path is not None:
        if label in read_header(test_path):
            known = _read_labelled(test_path, images, label, alike, cache_dir)
            test = with_targets(known, train.targets, test_path)
        else:
            test = _read_plain(test_path, images, alike, cache_dir, train.targets)
        form = RowForm(id_column=images, label_columns=(label,))
        submission = read_submission_format(folder, form.of(test.ids), test_path)
    holdouts = {}
    if path.is_dir() and options.extra is None:
        for further in _further_tables(folder, images, label):
            part = _read_labelled(further, images, label, alike, cache_dir)
            holdouts[stem_of(further)] = with_targets(part, train.targets, further)
    return Task(
        name=(folder if path.is_dir() else path).resolve().name.split(".")[0],
        train=train,
        test=test,
        holdouts=holdouts,
        submission=submission,
    )


def read_unlabelled(
    path: Path,
    shape: tuple[int, int, int],
    targets: tuple[Target, ...],
    options: Options,
    cache_dir: Path | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, C, H, W) and ids (N,) of a table, or of a folder's test.csv; labels are ignored.

    `shape` is the (C, H, W) that the model was trained on; images of another size are resized where `options.size`
    was given for the training. Raises DataError as `read` does.
    """
    path = existing(path)
    if path.is_dir():
        found = find_csv(path, "test")
        if found is None:
            raise DataError(f"The folder {path} has no test.csv. It has: {listing(path)}.")
        path = found
    part = _read_plain(path, _named_image_column(path), Conversion.to(shape, options), cache_dir, targets)
    return part.images, part.ids


def _read_labelled(
    path: Path, images: str, label: str, conversion: Conversion, cache_dir: Path | None
) -> Labelled:
    """One table and its images; its classes are its own."""
    table, ids = _read_table(path, images)
    # before the images, which take longer to read
    classes, numbers = read_labels(column_of(table, label, path), path)
    pixels = read_image_files(path.parent, table[images].tolist(), conversion, cache_dir, path)
    return Labelled(pixels, numbers[:, None], ids, (Target("label", classes),), columns=table)


def _read_plain(
    path: Path, images: str, conversion: Conversion, cache_dir: Path | None, targets: tuple[Target, ...]
) -> Dataset:
    """One table and its images, without labels."""
    table, ids = _read_table(path, images)
    pixels = read_image_files(path.parent, table[images].tolist(), conversion, cache_dir, path)
    return Dataset(pixels, None, ids, targets, columns=table)


def _read_table(path: Path, images: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The columns of a table, and the ids of its rows (N,): the paths in the column `images`."""
    table = read_text_table(path)
    ids = as_ids(column_of(table, images, path))
    refuse_bad_ids(path, ids)
    return table, ids


def _image_column(path: Path) -> str | None:
    """The name of the column of image paths, by its first cell or its name; None in a table of pixels."""
    header = read_header(path)
    if any(map(is_pixel, header)):
        return None
    with readable(path), open_text(path) as file:
        lines = csv.reader(file)
        next(lines)
        first = next((cells for cells in lines if cells), [])
    for name, cell in zip(header, first, strict=False):
        if is_image_name(cell.strip()):
            return name
    return next((name for name in header if name.lower() in IMAGE_NAMES), None)


def _named_image_column(path: Path) -> str:
    name = _image_column(path)
    if name is None:
        raise DataError(
            f"{path} has no column of image paths: none is named `image`, and no cell of the first row ends like "
            f"an image file (.jpg, .png, ..). Its columns: {columns_seen(read_header(path))}."
        )
    return name


def _label_column(train_path: Path, test_path: Path | None, images: str) -> str:
    header = read_header(train_path)
    sample = find_csv(train_path.parent, "sample_submission")
    if sample is not None and (names := read_header(sample))[-1] in header and names[-1] != images:
        return names[-1]
    for wanted in LABEL_NAMES:
        for name in header:
            if name.lower() == wanted:
                return name
    if test_path is not None:
        alone = [name for name in header if name not in read_header(test_path)]
        if len(alone) == 1:
            return alone[0]
    raise DataError(
        f"{train_path} has no label column: none is named 'label' (or {', '.join(LABEL_NAMES[1:])}). Its columns: "
        f"{columns_seen(header)}. Rename the column of classes to 'label'."
    )


def _further_tables(folder: Path, images: str, label: str) -> list[Path]:
    """The other tables of the folder with paths and labels."""
    found = []
    for path in sorted(filter(is_csv, folder.iterdir())):
        # a zip need not be data at all
        if stem_of(path) in ("train", "test", "sample_submission") or path.suffix == ".zip":
            continue
        if {images, label} <= set(read_header(path)):
            found.append(path)
    for path in found:
        find_csv(folder, stem_of(path))  # refuses the same file twice, plain and compressed
    return found
