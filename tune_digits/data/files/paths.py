"""Finding and opening data files: plain, `.gz` or `.zip`, with errors in plain words."""

from __future__ import annotations

import csv
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TextIO, cast

from tune_digits.errors import DataError

CSV_SUFFIXES = (".csv", ".csv.gz", ".csv.zip", ".zip")


def existing(path: str | Path) -> Path:
    """The path, if there is such a file or folder; else DataError."""
    path = Path(path).expanduser()
    if not path.exists():
        raise DataError(
            f"There is no file or folder {path} (data.path). Relative paths start at {Path.cwd()}."
        )
    return path


def find_csv(folder: Path, stem: str) -> Path | None:
    """`stem`.csv, .csv.gz, .csv.zip or .zip in the folder, or None. Raises DataError when there are several."""
    found = [p for p in (folder / f"{stem}{suffix}" for suffix in CSV_SUFFIXES) if p.is_file()]
    if len(found) > 1:
        raise DataError(f"{folder} has both {found[0].name} and {found[1].name}. Keep one of them.")
    return found[0] if found else None


def is_csv(path: Path) -> bool:
    """Whether the name is that of a CSV file, compressed or not."""
    return path.name.lower().endswith(CSV_SUFFIXES) and path.is_file()


def stem_of(path: Path) -> str:
    """The name without what says how it is stored: 'Dig-MNIST.csv.gz' -> 'Dig-MNIST'."""
    name = path.name
    for suffix in (".gz", ".zip", ".csv", ".npz", ".npy"):
        name = name.removesuffix(suffix)
    return name


def listing(folder: Path, most: int = 8) -> str:
    """The names in a folder, the first few of them, for an error message."""
    names = sorted(p.name + "/" * p.is_dir() for p in folder.iterdir())
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "nothing"


@contextmanager
def open_bytes(path: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The unpacked content, and the file on disk under it: its `tell()` says how far reading has come.

    Of a `.zip` the content is the one CSV file inside; raises DataError when there is none or another.
    """
    with open(path, "rb") as raw:
        if path.suffix == ".gz":
            with gzip.open(raw) as content:
                yield cast(IO[bytes], content), raw  # a GzipFile has all of IO's methods
        elif path.suffix == ".zip":
            with zipfile.ZipFile(raw) as archive, archive.open(_only_csv(path, archive)) as content:
                yield content, raw
        else:
            yield raw, raw


def _only_csv(path: Path, archive: zipfile.ZipFile) -> str:
    files = [n for n in archive.namelist() if not n.endswith("/") and not n.startswith("__MACOSX/")]
    names = [name for name in files if name.lower().endswith(".csv")]
    if len(names) == 1:
        if archive.getinfo(names[0]).flag_bits & 1:
            raise DataError(f"{path} is locked with a password. Unpack it, and give the folder.")
        return names[0]
    if not names:
        raise DataError(f"{path} has no CSV file inside, but: {', '.join(files[:8]) or 'nothing'}.")
    raise DataError(
        f"{path} has {len(names)} CSV files inside ({', '.join(names[:4])}{', ..' if len(names) > 4 else ''}), "
        f"and which one is meant is open. Unpack it, and give the folder."
    )


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """The content as UTF-8 text, without a byte-order mark, line ends as they are (for the csv module)."""
    with open_bytes(path) as (content, _):
        yield io.TextIOWrapper(content, encoding="utf-8-sig", newline="")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Say in plain words, as a DataError, that a file is missing, cut short, damaged or not text."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"There is no file {path}.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error.reason}). Save it as UTF-8.") from error
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as CSV: {error}.") from error
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        kind = {".gz": "a gzip file", ".zip": "a zip file"}.get(path.suffix, "of this format")
        raise DataError(f"{path} is cut short, damaged, or not {kind}. Copy or download it again.") from error
    except NotImplementedError as error:  # zipfile: an unknown kind of compression
        raise DataError(f"{path} cannot be unpacked: {error}. Unpack it, and give the folder.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}.") from error


def read_header(path: Path) -> list[str]:
    """The column names of a CSV file, without the spaces around them. Raises DataError when there are none."""
    with readable(path), open_text(path) as file:
        names = next(csv.reader(file), None)
    if not names:
        raise DataError(f"{path} is empty.")
    return [name.strip() for name in names]


def columns_seen(header: list[str]) -> str:
    """The first column names and the last, and how many there are, for an error message."""
    names = [name[:40] for name in header]  # a file with another separator has one very long name
    shown = names if len(names) <= 6 else [*names[:4], "..", names[-1]]
    return f"{', '.join(shown)} ({len(header)} columns)"
