"""Parsed files, kept on disk: a text file of 60,000 images takes a second or more to parse, its copy nothing.

An entry is two files named by what was read, `KEY.npy` (the images) and `KEY.npz` (the other columns and a
checksum of the images). Names come from content, so an entry never goes stale and two processes that write
the same one at once write the same bytes.
"""

from __future__ import annotations

import hashlib
import logging
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tune_digits.disk import replacing

Parsed = tuple[np.ndarray, dict[str, np.ndarray]]

_log = logging.getLogger("tune_digits")
_DAMAGE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)


def cached(source: Path, reader: str, cache_dir: Path | None, parse: Callable[[Path], Parsed]) -> Parsed:
    """`parse(source)`, or its kept copy: (images, other columns by name, each a text array).

    `reader` names the reader and its version; together with the sha256 of the file's content it is the key.
    Images out of the cache are memory-mapped copy-on-write: pages are read when touched, and writing to the
    array never changes the file. With `cache_dir` None nothing is read or kept.

    A damaged entry is rebuilt and a cache that cannot be written is done without; the logger "tune_digits"
    says so. Raises what `parse` raises, and OSError when `source` cannot be read.
    """
    if cache_dir is None:
        return parse(source)
    return kept(digest_of(source), source, reader, cache_dir, lambda: parse(source))


def digest_of(source: Path) -> str:
    """The sha256 of a file's content, in hexadecimal digits."""
    with open(source, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def kept(digest: str, source: Path, reader: str, cache_dir: Path, parse: Callable[[], Parsed]) -> Parsed:
    """As `cached`, for what is made of many files: `digest` is of all their content and of all options."""
    entry = cache_dir / f"{reader}-{digest[:32]}"
    try:
        return _load(entry)
    except FileNotFoundError:
        pass
    except _DAMAGE as error:
        _log.warning("The cache entry %s is damaged (%s): reading %s again.", entry, error, source)
    images, columns = parse()
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        _save(entry, images, columns)
    except OSError as error:
        _log.warning("Cannot keep the parsed copy of %s in %s: %s", source, cache_dir, error)
    return images, columns


def _load(entry: Path) -> Parsed:
    images = np.asarray(np.load(entry.with_suffix(".npy"), mmap_mode="c", allow_pickle=False))
    # Opened here: NumPy leaves a damaged archive open.
    with open(entry.with_suffix(".npz"), "rb") as file, np.load(file, allow_pickle=False) as rest:
        if zlib.crc32(images.data) != int(rest["crc32"]):
            raise ValueError("the checksum of the images differs")
        # Columns are numbered inside the archive: a column's own name may not be a file name.
        columns = {str(name): rest[f"column{i}"] for i, name in enumerate(rest["names"])}
    return images, columns


def _save(entry: Path, images: np.ndarray, columns: dict[str, np.ndarray]) -> None:
    arrays = {f"column{i}": column for i, column in enumerate(columns.values())}
    names = np.array(list(columns), dtype=str)
    checksum = np.uint32(zlib.crc32(images.data))
    with replacing(entry.with_suffix(".npz")) as part, part.open("wb") as file:
        np.savez(file, allow_pickle=False, names=names, crc32=checksum, **arrays)
    with replacing(entry.with_suffix(".npy")) as part, part.open("wb") as file:
        np.save(file, images, allow_pickle=False)
