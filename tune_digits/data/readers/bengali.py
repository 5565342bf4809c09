"""Bengali.AI's form: images in Parquet parts, several targets per image, several submission rows per image.

    train.csv                     image_id,grapheme_root,vowel_diacritic,consonant_diacritic,grapheme
    train_image_data_0.parquet    image_id, and one column per pixel: 0, 1, ..; parts 0, 1, .. as many as there are
    test.csv                      row_id,image_id,component     row_id is {image_id}_{component}
    test_image_data_0.parquet
    sample_submission.csv         row_id,target
    class_map.csv                 component_type,label,component      readable names of the classes

Images are 137x236, as Kaggle has them, or square. Rows in messages are counted from 1, without the header.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from tune_digits.data.dataset import Dataset, Labelled, RowForm, SubmissionFormat, Target, Task
from tune_digits.data.files.cache import digest_of, kept
from tune_digits.data.files.parquet_images import READER, Preparation, read_parts
from tune_digits.data.files.paths import columns_seen, existing, find_csv, listing, readable
from tune_digits.data.files.sample_submission import read_submission_format
from tune_digits.data.files.text_table import column_of, read_text_table
from tune_digits.data.labels import read_labels, refuse_bad_ids, with_targets
from tune_digits.data.options import ImageOptions
from tune_digits.errors import DataError

PART = re.compile(r"(?P<set>.+)_image_data_(?P<number>[0-9]+)\.parquet")
COMPONENTS = ("grapheme_root", "vowel_diacritic", "consonant_diacritic")


class Options(ImageOptions):
    """Bengali.AI's Parquet files: train.csv with a column per target, train_image_data_0.parquet"""

    format: Literal["bengali"] = "bengali"
    path: str = Field(description="folder with train.csv and train_image_data_0.parquet")
    crop: bool = Field(
        False,
        description="Bengali.AI's images: cut to the ink with a border, on a square, before the resizing",
    )

    @model_validator(mode="after")
    def _crops_are_resized(self) -> Options:
        if self.crop and self.size is None:
            raise ValueError("crop cuts images to different sizes: give size too, for instance 64")
        return self


def sniff(path: Path) -> bool:
    """Whether the folder, or that of the file `path`, has parts named SET_image_data_0.parquet."""
    if path.is_dir():
        return any(PART.fullmatch(p.name) for p in path.iterdir())
    return PART.fullmatch(path.name) is not None


def read(options: Options, cache_dir: Path | None = None) -> Task:
    """The task in the folder `options.path`.

    Targets are the columns of train.csv that test.csv (or class_map.csv) names as components, else those of
    Bengali.AI that it has. Classes are named by class_map.csv where there is one, and written as numbers all the same.
    All columns of train.csv, `grapheme` among them, are in `Dataset.columns`. Images become uint8 (N, C, H, W), C 1
    or `options.channels`; with `options.crop` they are cut to the ink before they are resized to `options.size`.

    Raises DataError for a missing part, ids that are not in both the table and the parts, and more.
    """
    folder = existing(options.path)
    folder = folder.parent if folder.is_file() else folder
    train_path = find_csv(folder, "train")
    if train_path is None:
        raise DataError(f"The folder {folder} has no train.csv. It has: {listing(folder)}.")
    test_path = find_csv(folder, "test")
    test_table = None if test_path is None else read_text_table(test_path)
    train_table = read_text_table(train_path)
    names = _targets(folder, train_path, list(train_table), test_path, test_table)
    ids, targets, labels = _read_labels(train_path, train_table, names, folder)
    preparation = Preparation(options.size, options.crop, 3 if options.channels == 3 else 1)
    images = _images(folder, "train", preparation, cache_dir, ids, train_path)
    train = Labelled(images, labels, ids, targets, columns=train_table)
    form = RowForm(
        id_column="row_id",
        label_columns=("target",),
        suffixes=tuple(f"_{name}" for name in names),
        heads=tuple((i,) for i in range(len(names))),
        numbers=find_csv(folder, "class_map") is not None,
    )
    test, submission = None, form.of(np.array([], dtype=str))
    if test_path is not None and test_table is not None:
        test_ids, expected = _test_rows(test_path, test_table, names, form)
        images = _images(folder, "test", preparation, cache_dir, test_ids, test_path)
        _refuse_other_size(images, train.images, folder)
        test = Dataset(images, None, test_ids, targets)
        submission = read_submission_format(folder, expected, test_path)
    holdouts = {}
    for name in _further_sets(folder) if options.extra is None else ():
        table_path = find_csv(folder, name)
        table = {} if table_path is None else read_text_table(table_path)
        if table_path is not None and set(names) <= set(table):
            ids, own, labels = _read_labels(table_path, table, names, folder)
            images = _images(folder, name, preparation, cache_dir, ids, table_path)
            _refuse_other_size(images, train.images, folder)
            further = Labelled(images, labels, ids, own, columns=table)
            holdouts[name] = with_targets(further, targets, table_path)
    return Task(folder.resolve().name, train, test, holdouts, submission)


def read_unlabelled(
    path: Path,
    shape: tuple[int, int, int],
    targets: tuple[Target, ...],
    options: Options,
    cache_dir: Path | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, C, H, W) and ids (N,) of all parts of a folder's test set, or of the set of the part `path`.

    `shape` is the (C, H, W) that the model was trained on; images are cropped and resized as those of the
    training were. The order is that of the parts. Raises DataError as `read` does.
    """
    path = existing(path)
    folder, name = path, "test"
    if match := PART.fullmatch(path.name):
        folder, name = path.parent, match["set"]
    channels, height, width = shape
    size = None if options.size is None else (height, width)
    images, ids = _parts_kept(folder, name, Preparation(size, options.crop, channels), cache_dir)
    refuse_bad_ids(folder / f"{name}_image_data", ids)
    if images.shape[1:] != tuple(shape):
        own, wanted = ("x".join(map(str, s)) for s in (images.shape[2:], shape[1:]))
        raise DataError(f"{folder} has images of {own} pixels, but the model was trained on {wanted}.")
    return images, ids


# ── images ───────────────────────────────────────────────────────────────────────────────────────────


def _parts(folder: Path, name: str) -> list[Path]:
    found = {
        int(match["number"]): path
        for path in folder.iterdir()
        if (match := PART.fullmatch(path.name)) and match["set"] == name
    }
    absent = sorted(set(range(max(found, default=0) + 1)) - set(found))
    if absent:
        there = (
            f"there are parts {', '.join(map(str, sorted(found)))}" if found else f"it has: {listing(folder)}"
        )
        raise DataError(
            f"{folder} has no {name}_image_data_{absent[0]}.parquet; {there}. Parts are numbered from 0 without a gap: "
            f"copy the missing one there."
        )
    return [found[number] for number in sorted(found)]


def _further_sets(folder: Path) -> list[str]:
    sets = {match["set"] for path in folder.iterdir() if (match := PART.fullmatch(path.name))}
    return sorted(sets - {"train", "test"})


def _parts_kept(
    folder: Path, name: str, preparation: Preparation, cache_dir: Path | None
) -> tuple[np.ndarray, np.ndarray]:
    """All images of a set and their ids as text, in the order of the parts."""
    parts = _parts(folder, name)
    if cache_dir is None:
        images, columns = read_parts(parts, preparation)
    else:
        with readable(parts[0]):
            digests = [digest_of(path) for path in parts]
        total = hashlib.sha256(repr((preparation, digests)).encode()).hexdigest()
        images, columns = kept(
            total, folder / name, READER, cache_dir, lambda: read_parts(parts, preparation)
        )
    return images, columns["image_id"]


def _images(
    folder: Path, name: str, preparation: Preparation, cache_dir: Path | None, ids: np.ndarray, table: Path
) -> np.ndarray:
    """The images of a set in the order of `ids`, text (N,), the rows of `table`."""
    images, found = _parts_kept(folder, name, preparation, cache_dir)
    where = folder / f"{name}_image_data_*.parquet"
    refuse_bad_ids(where, found)
    if np.array_equal(ids, found):
        return images
    place = {image: i for i, image in enumerate(found.tolist())}
    for row, image in enumerate(ids.tolist(), start=1):
        if image not in place:
            more = sum(i not in place for i in ids.tolist())
            raise DataError(
                f"{table}, row {row}: the image {image!r} is in no part {where} ({more:,} of {len(ids):,} are "
                f"missing). Is a part missing?"
            )
    extra = sorted(set(place) - set(ids.tolist()))
    if extra:
        raise DataError(
            f"{where}: the image {extra[0]!r} is not in {table} ({len(extra):,} of {len(found):,} are not). Are table "
            f"and parts of one set?"
        )
    return images[[place[image] for image in ids.tolist()]]


def _refuse_other_size(images: np.ndarray, train: np.ndarray, folder: Path) -> None:
    if images.shape[1:] != train.shape[1:]:
        own, other = ("x".join(map(str, i.shape[2:])) for i in (images, train))
        raise DataError(
            f"{folder}: images of {own} pixels, but those of the training set have {other}. Give data.size."
        )


# ── labels and rows ──────────────────────────────────────────────────────────────────────────────────


def _targets(
    folder: Path,
    train_path: Path,
    header: list[str],
    test_path: Path | None,
    test: dict[str, np.ndarray] | None,
) -> tuple[str, ...]:
    """The names of the targets, in the order of the training table's columns."""
    map_path = find_csv(folder, "class_map")
    named: set[str] = set()
    for path, table, column in (
        (test_path, test, "component"),
        (map_path, None if map_path is None else read_text_table(map_path), "component_type"),
    ):
        if path is None or table is None:
            continue
        named = set(column_of(table, column, path).tolist())
        if absent := sorted(named - set(header)):
            raise DataError(
                f"{path} names the component {absent[0]!r}, but {train_path} has no such column of labels. Its "
                f"columns: {columns_seen(header)}."
            )
        break
    names = tuple(name for name in header if name in (named or COMPONENTS))
    if not names:
        raise DataError(
            f"{train_path} has no label column ({', '.join(COMPONENTS)}). Its columns: {columns_seen(header)}."
        )
    return names


def _read_labels(
    path: Path, table: dict[str, np.ndarray], names: tuple[str, ...], folder: Path
) -> tuple[np.ndarray, tuple[Target, ...], np.ndarray]:
    """(ids text (N,), targets, labels int64 (N, T)) of a labelled table."""
    refuse_bad_ids(path, column_of(table, "image_id", path))
    class_names = _class_names(folder)
    targets, labels = [], []
    for name in names:
        classes, numbers = read_labels(table[name], path)
        if name in class_names:
            known = class_names[name]
            places = np.array([int(c) if c.isdecimal() and int(c) < len(known) else -1 for c in classes])
            if (places < 0).any():
                odd = int(np.argmax(places[numbers] < 0))
                raise DataError(
                    f"{path}, row {odd + 1}: the label {str(table[name][odd])!r} of {name} is not in class_map.csv, "
                    f"which has {len(known)} classes, 0 to {len(known) - 1}."
                )
            classes, numbers = known, places[numbers]
        targets.append(Target(name, classes))
        labels.append(numbers)
    return table["image_id"], tuple(targets), np.stack(labels, axis=1)


def _class_names(folder: Path) -> dict[str, tuple[str, ...]]:
    """The classes of each target in the order of their numbers, from class_map.csv; empty without one."""
    path = find_csv(folder, "class_map")
    if path is None:
        return {}
    table = read_text_table(path)
    kinds, labels, components = (column_of(table, n, path) for n in ("component_type", "label", "component"))
    names = {}
    for kind in dict.fromkeys(kinds.tolist()):
        rows = kinds == kind
        by_label = dict(zip(labels[rows].tolist(), components[rows].tolist(), strict=True))
        if set(by_label) != {str(i) for i in range(rows.sum())}:
            raise DataError(
                f"{path}: the labels of {kind} must be 0 to {rows.sum() - 1}, each once; there are "
                f"{', '.join(list(by_label)[:20])}."
            )
        names[kind] = tuple(by_label[str(i)] for i in range(len(by_label)))
    return names


def _test_rows(
    path: Path, table: dict[str, np.ndarray], names: tuple[str, ...], form: RowForm
) -> tuple[np.ndarray, SubmissionFormat]:
    """The test images' ids in the order of test.csv, and the rows it asks for."""
    rows, images, parts = (column_of(table, n, path) for n in ("row_id", "image_id", "component"))
    refuse_bad_ids(path, rows)
    ids = np.array(list(dict.fromkeys(images.tolist())), dtype=str)
    expected = form.of(ids)
    for row, (name, image, part) in enumerate(zip(rows, images, parts, strict=True), start=1):
        if name != f"{image}_{part}":
            raise DataError(f"{path}, row {row}: the row_id is {str(name)!r}, but must be {image}_{part}.")
    if absent := set(expected.ids.tolist()) - set(rows.tolist()):
        raise DataError(
            f"{path} has no row {min(absent)!r}: each image needs one for each of {', '.join(names)}."
        )
    place = {name: i for i, name in enumerate(expected.ids.tolist())}
    return ids, expected.take(np.array([place[name] for name in rows.tolist()], dtype=np.int64))
