"""The file format: grey images as CSV text, one row per image, one column per pixel.

Columns other than pixels may stand anywhere, under any further names; pixels must be pixel0..pixelN-1 in order, N
a square. Files may be gzip (`.csv.gz`) or zip with that one file inside, start with a byte-order mark, quote
their cells, and end lines with LF or CRLF.

Rows in messages are counted from 1, without the header.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import IO

import numpy as np

from tune_digits.data.files.cache import Parsed, cached
from tune_digits.data.files.paths import columns_seen, open_bytes, open_text, read_header, readable
from tune_digits.data.files.progress import tell
from tune_digits.data.labels import as_ids, is_whole
from tune_digits.errors import DataError

READER = "pixel_csv-2"  # raise the number when a parsed copy of an older version is no longer right
LABEL_NAMES = ("label",)
ID_NAMES = ("id", "imageid", "image_id")  # without regard to upper and lower case
BLOCK_BYTES = 1 << 22  # of text, parsed at a time
MOST_PIXELS = 1 << 20  # 1024x1024; a larger number in a header is a slip


@dataclass(frozen=True, slots=True)
class PixelTable:
    """One file as read. images: uint8 (N, 1, H, H). columns: all others by name, text (N,), in file order."""

    path: Path
    images: np.ndarray
    columns: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> np.ndarray | None:
        """The label column as text (N,), or None."""
        name = label_column(self.columns)
        return None if name is None else self.columns[name]

    @property
    def ids(self) -> np.ndarray | None:
        """The id column (N,), int64 where all are whole numbers, else text; or None."""
        name = id_column(self.columns)
        return None if name is None else as_ids(self.columns[name])


def read_pixel_csv(path: Path, cache_dir: Path | None = None) -> PixelTable:
    """Read one file, from its parsed copy under `cache_dir` where there is one.

    Raises DataError when the file cannot be read, is cut short, has no rows, or its pixel columns or pixels
    (whole numbers 0..255) are not as they should be; with the row and column.
    """
    with readable(path):
        images, columns = cached(path, READER, cache_dir, _parse)
    return PixelTable(path, images, columns)


def is_pixel(name: str) -> bool:
    """Whether a column of that name holds pixels."""
    return re.fullmatch(r"pixel[0-9]+", name) is not None


def label_column(names: Iterable[str]) -> str | None:
    """The name of the column of labels, or None."""
    return next((name for name in names if name.lower() in LABEL_NAMES), None)


def id_column(names: Iterable[str]) -> str | None:
    """The name of the column of ids, or None."""
    return next((name for name in names if name.lower() in ID_NAMES), None)


def side_of(path: Path | str, header: list[str]) -> int:
    """The images' height and width; DataError where the pixel columns are not what they should be."""
    pixels = [name for name in header if is_pixel(name)]
    rule = "Pixel columns are pixel0, pixel1, .. in order, each once."
    if not pixels:
        raise DataError(
            f"{path} has no pixel columns (pixel0, pixel1, ..). Its columns: {columns_seen(header)}."
        )
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise DataError(f"{path} has the column {twice[0][:40]!r} twice. {rule}")
    numbers = [int(name[5:]) if len(name) < 15 else MOST_PIXELS for name in pixels]
    if max(numbers) >= MOST_PIXELS:
        odd = pixels[numbers.index(max(numbers))]
        raise DataError(
            f"{path} has the column {odd[:40]!r}: at most {MOST_PIXELS:,} pixels are read. {rule}"
        )
    absent = sorted(set(range(max(numbers))) - set(numbers))
    if absent:
        raise DataError(f"{path} has no column 'pixel{absent[0]}', but has {pixels[-1]!r}. {rule}")
    for i, name in enumerate(pixels):
        if name != f"pixel{i}":
            raise DataError(f"{path} has the column {name!r} where pixel{i} should be: out of order. {rule}")
    side = isqrt(len(pixels))
    if side * side != len(pixels):
        nearest = round(len(pixels) ** 0.5)
        raise DataError(
            f"{path} has {len(pixels)} pixel columns, which is not a square; the nearest is "
            f"{nearest * nearest} ({nearest}x{nearest}). Images must be as high as wide."
        )
    return side


def _parse(path: Path) -> Parsed:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    header = read_header(path)
    side = side_of(path, header)
    pixels = [name for name in header if is_pixel(name)]
    texts: dict[str, list[str]] = {name: [] for name in header if not is_pixel(name)}
    images = np.empty((0, side * side), np.uint8)
    count = 0
    size = max(path.stat().st_size, 1)
    try:
        with open_bytes(path) as (content, raw):
            watched = _Hexadecimal(content)
            reader = arrow_csv.open_csv(
                watched,
                # columns cost the same for few rows as for many, and no row may be longer than a block
                read_options=arrow_csv.ReadOptions(
                    column_names=header,
                    skip_rows=1,
                    block_size=min(BLOCK_BYTES * max(1, len(header) // 2048), 1 << 26),
                ),
                # Straight to bytes: as int64, 60,000 images of 28x28 are 376 MB. No text counts as null, so that
                # an empty pixel is an error and an empty label stays visible.
                convert_options=arrow_csv.ConvertOptions(
                    column_types={name: pa.string() if name in texts else pa.uint8() for name in header},
                    null_values=[],
                    strings_can_be_null=False,
                ),
            )
            for batch in reader:
                if batch.num_rows == 0:
                    continue
                end = count + batch.num_rows
                if end > len(images):
                    # in place, a quarter more each time: joining blocks at the end would hold them twice
                    images.resize((max(end, len(images) * 5 // 4), side * side), refcheck=False)
                images[count:end] = batch.select(pixels).to_tensor(row_major=True).to_numpy()
                count = end
                for name in texts:
                    texts[name] += batch.column(name).to_pylist()
                tell(path.name, raw.tell() / size)
    except pa.ArrowInvalid as error:
        _explain(path, header)
        raise DataError(f"{path} cannot be read as CSV: {error}") from error
    if count == 0:
        raise DataError(f"{path} has a header but no rows.")
    if watched.found:
        _explain(path, header)  # it may be in a label or an id, where it is no harm
    images.resize((count, side * side), refcheck=False)
    tell(path.name, 1.0)
    columns = {name: np.array([t.strip() for t in text]) for name, text in texts.items()}
    return images.reshape(-1, 1, side, side), columns


class _Hexadecimal:
    """A file on its way to pyarrow, which would read the text 0x10 as the number 16; `found` says that some came by."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._last = b""
        self.found = False

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        seen = self._last + data
        self.found = self.found or b"0x" in seen or b"0X" in seen
        self._last = data[-1:]
        return data


def _explain(path: Path, header: list[str]) -> None:
    """Find what the fast reader stumbled over, cell by cell, and raise it as a DataError."""
    usual = {str(i) for i in range(256)}
    pixels = [i for i, name in enumerate(header) if is_pixel(name)]
    row = 0
    with open_text(path) as file:
        lines = csv.reader(file)
        next(lines)
        for cells in lines:
            if not cells:
                continue
            row += 1
            if len(cells) != len(header):
                raise DataError(
                    f"{path}, row {row}: {len(cells)} cells, but the header has {len(header)} columns. "
                    f"Is the file cut short?"
                )
            if usual.issuperset(cells):
                continue
            for i in pixels:
                if cells[i] not in usual and not _is_byte(cells[i].strip()):
                    raise DataError(
                        f"{path}, row {row}, column {header[i]}: the pixel is {cells[i][:20]!r}. "
                        f"Pixels are whole numbers from 0 to 255."
                    )
    if row == 0:
        raise DataError(f"{path} has a header but no rows.")


def _is_byte(text: str) -> bool:
    return is_whole(text) and len(text.lstrip("0")) <= 3 and int(text) <= 255
