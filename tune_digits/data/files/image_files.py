"""Image files as one array of bytes: found inside their folder only, decoded safely, converted, resized.

Nothing is taken on trust: a file is refused that lies outside the folder, is damaged or cut short, or whose header
announces more pixels than any small-image task has (before they are decoded). What could be read in more
than one way is converted, and counted in a warning of the logger "tune_digits".

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
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps

from tune_digits.data.files.cache import Parsed, kept
from tune_digits.data.files.progress import tell
from tune_digits.errors import DataError

READER = "image_files-1"  # raise the number when kept images of an older version are no longer right
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
MOST_PIXELS = 50_000_000  # of one file: a photograph of 50 megapixels
MOST_BYTES = 200_000_000  # of one file
MEMORY_PART = 0.6  # of the machine's memory that one set of images may take
GREY = ("1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N")
_log = logging.getLogger("tune_digits")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shape:
    """What images are made to. size: (height, width) or None, as they are; channels: 1, 3 or None, as the files ask.

    resize: whether an image of another size is resized, or else refused.
    """

    size: tuple[int, int] | None
    channels: int | None
    resize: bool


class _Unreadable(Exception):
    """What is wrong with one file, and what to do: the end of a sentence that begins with its name."""


def is_image_name(name: str) -> bool:
    """Whether a file is named as an image of a known form."""
    return name.lower().endswith(SUFFIXES)


def read_image_files(
    folder: Path, names: Sequence[str], shape: Shape, cache_dir: Path | None, table: Path | None = None
) -> np.ndarray:
    """The images `names`, paths from `folder` on, as uint8 (N, C, H, W), in that order.

    Grey and colour may be mixed: with channels None all are colour where one is. Resizing is bilinear over the area
    of each new pixel, to the very height and width, whatever the old shape. Transparent images are put on white,
    16 bits are scaled to 8, photographs turned as their EXIF data say, and of several frames the first is taken.
    `table`, the file that lists the names, is named in messages together with the row.

    Raises DataError for a file that is missing, empty, damaged, too large or outside the folder; for images of
    several sizes that shall not be resized; and when all together would not fit into memory.
    """

    def said(i: int) -> str:
        return f"{folder / names[i]}" if table is None else f"{table}, row {i + 1}: the image {names[i]!r}"

    paths = _inside(folder, names, said)

    def each(work: Callable[[bytes], T], begin: float, end: float) -> Iterator[T]:
        """work(content) of every file, in order, in threads."""

        def one(i: int) -> T:
            try:
                return work(_content(paths[i]))
            except _Unreadable as error:
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
        Image.init()
        size, channels = shape.size, shape.channels
        if size is None or channels is None:
            heads = list(each(_header, 0, 0.3))
            channels = channels or (3 if any(colour for _, colour in heads) else 1)
            size = size or heads[0][0]
            if not shape.resize:
                _refuse_other_sizes([s for s, _ in heads], size, said)
        _refuse_too_much(folder, len(names), channels, size)
        images = np.empty((len(names), channels, *size), np.uint8)
        notes = []
        for i, (pixels, note) in enumerate(
            each(lambda content: _decode(content, size, channels, shape.resize), 0.3, 1)
        ):
            images[i] = pixels
            notes.append(note)
        return images, {"notes": np.array(notes, dtype=str)}

    if cache_dir is None:
        images, columns = parse()
    else:
        total = hashlib.sha256(repr((shape, MOST_PIXELS)).encode())
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


def _content(path: str) -> bytes:
    try:
        if os.path.getsize(path) > MOST_BYTES:
            raise _Unreadable(f"is larger than {MOST_BYTES / 1e6:,.0f} MB, and is not read.")
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise _Unreadable(f"cannot be read: {error.strerror or error}.") from error
    if not content:
        raise _Unreadable("is empty: it has zero bytes. Copy it again, or leave it out.")
    return content


def _open(content: bytes) -> Image.Image:
    """The image, not decoded yet, of a size that may be decoded."""
    try:
        image = Image.open(BytesIO(content), formats=FORMATS)
        pixels = image.width * image.height
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        pixels = MOST_PIXELS + 1
    except Image.UnidentifiedImageError as error:
        raise _Unreadable(
            f"is not an image of a known form ({', '.join(FORMATS)}), or is damaged."
        ) from error
    except Exception as error:  # what decoders raise on damaged bytes is documented nowhere
        raise _damaged(error) from error
    if pixels > MOST_PIXELS:
        raise _Unreadable(
            f"says in its header that it has more than {MOST_PIXELS:,} pixels, and is not decoded. Make it smaller, "
            f"or leave it out."
        )
    return image


def _damaged(error: Exception) -> _Unreadable:
    cause = f"{error}" or type(error).__name__
    return _Unreadable(f"is damaged or cut short ({cause[:120]}). Copy it again, or leave it out.")


def _header(content: bytes) -> tuple[tuple[int, int], bool]:
    """(height, width) as a person sees it, and whether there is colour."""
    image = _open(content)
    try:
        # of a PNG without EXIF data in front Pillow would decode all to look behind the pixels
        known = image.format != "PNG" or "exif" in image.info
        turned = known and image.getexif().get(0x0112) in (5, 6, 7, 8)
        palette = image.getpalette() if image.mode == "P" else None
    except Exception as error:
        raise _damaged(error) from error
    size = (image.width, image.height) if turned else (image.height, image.width)
    if palette is not None:
        return size, not (palette[0::3] == palette[1::3] == palette[2::3])
    return size, image.mode not in GREY


def _decode(content: bytes, size: tuple[int, int], channels: int, resize: bool) -> tuple[np.ndarray, str]:
    """uint8 (C, H, W), and what had to be converted, in words (or '')."""
    image = _open(content)
    height, width = size
    try:
        image, note = _plain(image, content)
        image = image.convert("L" if channels == 1 else "RGB")
        if image.size != (width, height):
            if not resize:
                raise _Unreadable(
                    f"has {image.height}x{image.width} pixels, but {height}x{width} are expected. Give data.size to "
                    f"resize all images."
                )
            image = image.resize((width, height), Image.Resampling.BILINEAR)
    except _Unreadable:
        raise
    except Exception as error:
        raise _damaged(error) from error
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1), note


def _plain(image: Image.Image, content: bytes) -> tuple[Image.Image, str]:
    """The image in 8 bits, grey or RGB, without transparency, upright; and what was converted."""
    image.load()
    notes = []
    deep_png = image.format == "PNG" and content[24] == 16
    turned = ImageOps.exif_transpose(image)
    if turned.size != image.size or image.getexif().get(0x0112, 1) != 1:
        notes.append("turned as their EXIF data say")
    image = turned
    if image.mode.startswith("I;16") or (image.mode == "I" and deep_png):
        values = np.asarray(image).astype(np.uint32)
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
        deep_png = True
    elif image.mode in ("I", "F"):
        raise _Unreadable("has 32 bits per pixel, without saying what is white. Save it with 8 or 16 bits.")
    if deep_png:
        notes.append("of 16 bits")
    if image.mode == "CMYK":
        notes.append("CMYK")
    if image.has_transparency_data:
        notes.append("with an alpha channel (put on white)")
        grey = image.mode == "LA"
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image)
        image = paper.convert("L" if grey else "RGB")
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode in GREY else "RGB")
    return image, ", ".join(notes)


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
    if needed > MEMORY_PART * memory:
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
