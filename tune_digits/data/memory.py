"""Data sets from arrays and tables in memory.

>>> import numpy as np
>>> from tune_digits.data.dataset import Task
>>> from tune_digits.data.memory import from_arrays
>>> train = from_arrays(np.zeros((4, 8, 8)), ["oak", "ash", "oak", "ash"])
>>> Task("mine", train).describe()
'mine: 4 train, 8x8x1, 2 classes'
"""

from __future__ import annotations

from math import isqrt
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from tune_digits.data.dataset import Dataset, Labelled, Target
from tune_digits.data.files.pixel_csv import id_column, is_pixel, label_column, side_of
from tune_digits.data.labels import as_ids, read_labels
from tune_digits.errors import DataError

CHUNK = 1 << 24  # numbers converted at a time
CHANNELS = ((1, 3), (2, 4))  # what an axis of channels may have; the likelier ones are tried first


def to_images(x: Any, name: str = "x") -> np.ndarray:
    """uint8 (N, C, H, W), C-contiguous, from images in any of the forms of `from_arrays`.

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


@overload
def from_arrays(x: Any, y: None = None, name: str = "x", label_name: str = "y") -> Dataset: ...
@overload
def from_arrays(x: Any, y: ArrayLike, name: str = "x", label_name: str = "y") -> Labelled: ...
def from_arrays(x: Any, y: Any = None, name: str = "x", label_name: str = "y") -> Dataset:
    """A data set from arrays or tables in memory.

    x: images (N, H, W), (N, H, W, C), (N, C, H, W) or flat (N, H*H), C 1 to 4; whole numbers 0..255, or floats
    within 0..1, which are multiplied by 255. Or a DataFrame of flat images: the columns pixel0, pixel1, .., and
    besides them `label`, ids and further columns. y: labels (N,) or (N, T), numbers or names, or a
    DataFrame with one column per target; None = the column `label` of x, or no labels. With labels the result is a
    `Labelled`. name, label_name: what x and y are called in messages.

    Raises DataError for shapes, values or lengths that do not fit.
    """
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
            named, label = id_column(columns), label_column(columns)
            ids = None if named is None else as_ids(columns[named])
            y = columns[label] if y is None and label is not None else y
        else:
            x = table.to_numpy()
    images = to_images(x, name)
    ids = np.arange(len(images)) if ids is None else ids
    if y is None:
        return Dataset(images, None, ids, (), columns=columns)
    heads = _heads(y, label_name)
    for text in heads.values():
        if len(text) != len(images):
            raise DataError(f"{label_name} has {len(text):,} labels, but {name} has {len(images):,} images.")
    read = {head: read_labels(text, label_name) for head, text in heads.items()}
    labels = np.stack([numbers for _, numbers in read.values()], axis=1)
    targets = tuple(Target(head, classes) for head, (classes, _) in read.items())
    return Labelled(images, labels, ids, targets, columns=columns)


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
