"""Image files as one array of bytes: found inside their folder only, decoded (`decoding.py`), kept in the cache.

What could be read in more than one way is converted, and counted in a warning of the logger "tune_digits".

N images, C channels, H W. Rows in messages are counted from 1, without the header.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from tune_digits.data.files.cache import Parsed, kept
from tune_digits.data.files.progress import tell
from tune_digits.data.options import ImageOptions
from tune_digits.errors import DataError

READER = "image_files-1"  # raise the number when kept images of an older version are no longer right
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
MEMORY_FRACTION = 0.6  # of the machine's memory that one set of images may take
_log = logging.getLogger("tune_digits")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Conversion:
    """What images are made to. size: (height, width) or None, as they are; channels: 1, 3 or None, as the files ask.

    resize: whether an image of another size is resized, or else refused.
    """

    size: tuple[int, int] | None
    channels: int | None
    resize: bool

    @staticmethod
    def of(options: ImageOptions) -> Conversion:
        """That of training images: as the options say."""
        channels = None if options.channels == "auto" else options.channels
        return Conversion(options.size, channels, options.size is not None)

    @staticmethod
    def to(shape: tuple[int, ...], options: ImageOptions) -> Conversion:
        """That of further images: to the (C, H, W) of the training images, resized only where those were."""
        channels, height, width = shape
        return Conversion((height, width), channels, options.size is not None)


def is_image_name(name: str) -> bool:
    """Whether a file is named as an image of a known form."""
    return name.lower().endswith(SUFFIXES)


def read_image_files(
    folder: Path,
    names: Sequence[str],
    conversion: Conversion,
    cache_dir: Path | None,
    table: Path | None = None,
) -> np.ndarray:
    """The images `names`, paths from `folder` on, as uint8 (N, C, H, W), in that order.

    Grey and colour may be mixed: with channels None all are colour where one is. Resizing is bilinear over the area
    of each new pixel, to the very height and width, whatever the old shape. Transparent images are put on white,
    16 bits are scaled to 8, photographs turned as their EXIF data say, and of several frames the first is taken.
    `table`, the file that lists the names, is named in messages together with the row.

    Raises DataError for a file that is missing, empty, damaged, too large or outside the folder; for images of
    several sizes that shall not be resized; and when all together would not fit into memory.
    """
    from tune_digits.data.files import decoding

    def said(i: int) -> str:
        return f"{folder / names[i]}" if table is None else f"{table}, row {i + 1}: the image {names[i]!r}"

    paths = _inside(folder, names, said)

    def each(work: Callable[[bytes], T], begin: float, end: float) -> Iterator[T]:
        """work(content) of every file, in order, in threads; progress is told as going from `begin` to `end`."""

        def one(i: int) -> T:
            try:
                return work(decoding.read_content(paths[i]))
            except decoding.Unreadable as error:
                raise DataError(f"{said(i)} {error}") from error

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            try:
                for i, result in enumerate(pool.map(one, range(len(paths)))):
                    if i % 256 == 0:
                        tell(folder.name, begin + (end - begin) * i / len(paths))
                    yield result
            finally:
                pool.shutdown(cancel_futures=True)

    def parse() -> Parsed:
        decoding.load_decoders()
        size, channels = conversion.size, conversion.channels
        if size is None or channels is None:
            heads = list(each(decoding.read_header, 0, 0.3))
            channels = channels or (3 if any(colour for _, colour in heads) else 1)
            size = size or heads[0][0]
            if not conversion.resize:
                _refuse_other_sizes([s for s, _ in heads], size, said)
        _refuse_too_much(folder, len(names), channels, size)
        images = np.empty((len(names), channels, *size), np.uint8)
        notes = []
        decode = partial(decoding.decode, size=size, channels=channels, resize=conversion.resize)
        for i, (pixels, note) in enumerate(each(decode, 0.3, 1)):
            images[i] = pixels
            notes.append(note)
        return images, {"notes": np.array(notes, dtype=str)}

    if cache_dir is None:
        images, columns = parse()
    else:
        total = hashlib.sha256(repr((conversion, decoding.MOST_PIXELS)).encode())
        for digest in each(lambda content: hashlib.sha256(content).digest(), 0, 0):
            total.update(digest)
        images, columns = kept(total.hexdigest(), folder, READER, cache_dir, parse)
    _warn(folder if table is None else table, names, columns["notes"])
    return images


def _inside(folder: Path, names: Sequence[str], said: Callable[[int], str]) -> list[str]:
    """The files' real paths, each of them proven to be a file in the folder."""
    root = os.path.realpath(folder)
    paths, absent = [], []
    for i, name in enumerate(names):
        try:
            path = os.path.realpath(os.path.join(root, name))
            if os.path.isabs(name) or os.path.commonpath([root, path]) != root:
                raise DataError(
                    f"{said(i)} leads out of the folder {folder}, and is not read. Paths are relative, and stay "
                    f"in it; copy the images there."
                )
            there = os.path.exists(path)
            if there and not os.path.isfile(path):
                raise DataError(f"{said(i)} is not a file{' but a folder' * os.path.isdir(path)}.")
        except (ValueError, OSError) as error:  # a zero byte in the name, or a loop of links
            raise DataError(f"{said(i)} cannot be a path: {error}.") from error
        paths.append(path)
        if not there:
            absent.append(i)
    if absent:
        more = f" (and {len(absent) - 1:,} more of {len(names):,})" if len(absent) > 1 else ""
        raise DataError(
            f"{said(absent[0])} is missing: there is no such file in {folder}{more}. Are all images unpacked "
            f"there? Else take the row out."
        )
    return paths


def _refuse_other_sizes(
    sizes: list[tuple[int, int]], size: tuple[int, int], said: Callable[[int], str]
) -> None:
    for i, other in enumerate(sizes):
        if other != size:
            raise DataError(
                f"The images are of several sizes: {said(i)} has {other[0]}x{other[1]} pixels, where others have "
                f"{size[0]}x{size[1]}. Give data.size, for instance 64, to resize all."
            )


def _refuse_too_much(folder: Path, count: int, channels: int, size: tuple[int, int]) -> None:
    needed = count * channels * size[0] * size[1]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > MEMORY_FRACTION * memory:
        raise DataError(
            f"{folder}: {count:,} images of {size[0]}x{size[1]} pixels with {channels} channel(s) are "
            f"{needed / 1e9:,.0f} GB; this machine has {memory / 1e9:,.0f} GB. Give a smaller data.size."
        )


def _warn(where: Path, names: Sequence[str], notes: np.ndarray) -> None:
    """One line on what was converted, with counts and an example of each."""
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for i in np.flatnonzero(notes != "").tolist():
        for note in str(notes[i]).split(", "):
            counts[note] += 1
            first.setdefault(note, names[i])
    if counts:
        shown = "; ".join(f"{n:,} {note}, for instance {first[note]}" for note, n in counts.most_common())
        _log.warning("%s: some of %s images were converted: %s.", where, f"{len(names):,}", shown)
