"""Images in Parquet files, one row each and one column per pixel, streamed in small batches into one array.

A part of 50,000 images of 137x236 pixels is 1.6 GB as bytes: rows are read some hundred at a time, made to their
final size and only then kept. N images, C channels, H W.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tune_digits.data.files.cache import Parsed
from tune_digits.data.files.paths import columns_seen
from tune_digits.data.files.progress import tell
from tune_digits.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

READER = "parquet_images-1"  # raise the number when kept images of an older version are no longer right
KAGGLE_SIZE = (137, 236)
BATCH_BYTES = 1 << 25  # of pixels, read at a time
INK = 60  # a pixel is ink if it differs from the paper by more grey levels than this
EDGE = 0.03  # fraction of height and width, at each side, where ink does not count: scans have lines there
BORDER = 0.06  # left free around the ink's box, as a fraction of its longer side


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is done to each image: resized to size (height, width), None: as it is; cut to the ink; 1 or 3 channels."""

    size: tuple[int, int] | None
    crop: bool
    channels: int


def read_parts(paths: list[Path], preparation: Preparation) -> Parsed:
    """All images of the parts, uint8 (N, C, H, W), and the column `image_id`, text (N,), in the order of the parts.

    Raises DataError when a part cannot be read, lacks image_id, or has pixel columns other than 0 .. n-1 (n is
    137*236 or a square) of whole numbers from 0 to 255; with the file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    # column names that are no text show as UnicodeDecodeError
    damage = (OSError, UnicodeDecodeError, pa.ArrowException)
    ids: list[str] = []
    files, sizes = [], []
    for path in paths:
        try:
            # mapped, and not buffered by row group: a whole part is one of 1 GB
            files.append(pq.ParquetFile(path, memory_map=True, pre_buffer=False))
        except damage as error:
            raise _damaged(path, error) from error
        sizes.append(_size(path, files[-1].schema_arrow.names))
        if sizes[-1] != sizes[0]:
            first, own = ("x".join(map(str, s)) for s in (sizes[0], sizes[-1]))
            raise DataError(f"{path} has images of {own} pixels, but {paths[0].name} has {first}.")
    total = sum(file.metadata.num_rows for file in files)
    if total < 1:  # in a damaged file it can be less than none
        raise DataError(f"{paths[0]} has no rows.")
    height, width = preparation.size or sizes[0]
    images = np.empty((total, preparation.channels, height, width), np.uint8)
    done = 0
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for path, file, size in zip(paths, files, sizes, strict=True):
            pixels = [str(i) for i in range(size[0] * size[1])]
            try:
                for batch in file.iter_batches(
                    max(1, BATCH_BYTES // len(pixels)), columns=["image_id", *pixels]
                ):
                    ids += batch.column("image_id").cast(pa.string()).to_pylist()
                    rows = _bytes(batch.select(pixels)).reshape(-1, *size)
                    if preparation.crop or preparation.size not in (None, size):
                        made = pool.map(lambda image: shaped(image, height, width, preparation.crop), rows)
                        for i, image in enumerate(made, start=done):
                            images[i] = image
                    else:
                        images[done : done + len(rows)] = rows[:, None]
                    done += len(rows)
                    tell(path.name, done / total)
            except damage as error:
                raise _damaged(path, error) from error
    return images, {"image_id": np.array(["" if i is None else i.strip() for i in ids], dtype=str)}


def _bytes(batch: pa.RecordBatch) -> np.ndarray:
    """uint8 (rows, columns). Raises pa.ArrowInvalid for values that are missing or no bytes."""
    import pyarrow as pa

    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if column.null_count:
            raise pa.ArrowInvalid(f"the pixel column {name} has {column.null_count} missing value(s)")
    if any(kind != pa.uint8() for kind in batch.schema.types):
        batch = batch.cast(pa.schema([(name, pa.uint8()) for name in batch.schema.names]))
    pixels: np.ndarray = batch.to_tensor(row_major=True).to_numpy()
    return pixels


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} cannot be read as Parquet with whole numbers from 0 to 255: {str(error).strip()[:200]}. Copy it "
        f"again, or write it anew."
    )


def _size(path: Path, names: list[str]) -> tuple[int, int]:
    """(height, width) from the names of the columns."""
    if "image_id" not in names:
        raise DataError(f"{path} has no column 'image_id'. Its columns: {columns_seen(names)}.")
    count = len(names) - 1
    if {*names} != {"image_id", *map(str, range(count))} or count == 0:
        odd = next((n for n in names if n != "image_id" and not n.isdecimal()), None)
        what = f"a column {odd!r}" if odd is not None else f"not the columns 0 to {count - 1}, each once"
        raise DataError(
            f"{path} has {what}; besides image_id there are pixel columns only, 0, 1, .. without a gap."
        )
    if count == KAGGLE_SIZE[0] * KAGGLE_SIZE[1]:
        return KAGGLE_SIZE
    side = isqrt(count)
    if side * side != count:
        raise DataError(
            f"{path} has {count:,} pixel columns; known are 137*236 = 32,332, and squares such as 64*64."
        )
    return side, side


def shaped(image: np.ndarray, height: int, width: int, crop: bool) -> np.ndarray:
    """One grey image uint8 (H0, W0) made to (height, width), resized bilinearly over the area of each new pixel.

    With `crop` it is first cut to the ink's bounding box with a border, on paper of the new image's proportions, so
    that signs keep theirs. Paper is the median of the outermost pixels; an image without ink stays whole.
    """
    if crop:
        image = _cut(image, height / width)
    if image.shape == (height, width):
        return image
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def _cut(image: np.ndarray, proportion: float) -> np.ndarray:
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    paper = int(np.median(edge))
    ink = np.abs(image.astype(np.int16) - paper) > INK
    dy, dx = (int(EDGE * n) for n in image.shape)
    inner = ink[dy : image.shape[0] - dy, dx : image.shape[1] - dx]
    ys, xs = np.flatnonzero(inner.any(axis=1)), np.flatnonzero(inner.any(axis=0))
    if len(ys) == 0:
        return image
    border = round(BORDER * max(np.ptp(ys), np.ptp(xs)) + 1)
    top, bottom = max(ys[0] + dy - border, 0), min(ys[-1] + dy + border + 1, image.shape[0])
    left, right = max(xs[0] + dx - border, 0), min(xs[-1] + dx + border + 1, image.shape[1])
    box = image[top:bottom, left:right]
    high, wide = box.shape
    height, width = max(high, round(wide * proportion)), max(wide, round(high / proportion))
    sheet = np.full((height, width), paper, np.uint8)
    y, x = (height - high) // 2, (width - wide) // 2
    sheet[y : y + high, x : x + wide] = box
    return sheet
