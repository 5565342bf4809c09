"""Grey images in Kaggle's CSV form: one row per image, one column per pixel.

Two dialects, told apart by their headers: Kannada-MNIST (`label,pixel0..`, test `id,pixel0..`) and Digit
Recognizer (`label,pixel0..`, test bare `pixel0..`, ids counted from 1). Columns other than pixels may stand
anywhere, under any further names; pixels must be pixel0..pixelN-1 in order, N a square. Files may be gzip
(`.csv.gz`), start with a byte-order mark, and end lines with LF or CRLF.

Rows in messages are counted from 1, without the header.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import TextIO

import numpy as np

from tune_digits.config import Data, RowGroups
from tune_digits.data.cache import Parsed, cached
from tune_digits.data.dataset import Dataset, SubmissionFormat, Target, Task
from tune_digits.errors import DataError

READER = "pixel_csv-1"  # raise the number when a parsed copy of an older version is no longer right
LABEL_NAMES = ("label",)
ID_NAMES = ("id", "imageid", "image_id")  # without regard to upper and lower case
BLOCK_BYTES = 1 << 22  # of text, parsed at a time


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
        return _named(self.columns, LABEL_NAMES)

    @property
    def ids(self) -> np.ndarray | None:
        """The id column (N,), int64 where all are whole numbers, else text; or None."""
        column = _named(self.columns, ID_NAMES)
        return None if column is None else _as_ids(column)


# ── the public readers ───────────────────────────────────────────────────────────────────────────────


def load_kaggle_csv(data: Data, groups: str | RowGroups | None, cache_dir: Path | None = None) -> Task:
    """The task in the folder `data.path`, or in that one training file.

    A folder holds train.csv, and where there are any: test.csv, sample_submission.csv, and further labelled
    files with the training file's pixels, which become holdouts named by their stem. `data.holdout` names
    those files instead. Without a sample submission the form is the dialect's own. `groups` is a column of
    the training file, or `RowGroups`. The classes are the training file's distinct labels, whole numbers
    (in numeric order) or names (in alphabetical order).

    Raises DataError for anything missing, malformed or contradictory, with the file and the row.
    """
    path = _existing(data.path)
    folder, train_path = (path.parent, path) if path.is_file() else (path, find_csv(path, "train"))
    if train_path is None:
        raise DataError(f"The folder {path} has no train.csv or train.csv.gz. It has: {listing(path)}.")
    header = _read_header(train_path)
    if not _has(header, LABEL_NAMES):
        raise DataError(f"{train_path} has no column named 'label'. Its columns: {_columns_seen(header)}.")
    if isinstance(groups, str) and groups not in _others(header):
        raise DataError(
            f"cv.groups is {groups!r}, but {train_path} has no such column. "
            f"Its columns besides the pixels: {', '.join(_others(header))}."
        )

    table = read_pixel_csv(train_path, cache_dir)
    target = Target("label", _classes(table))
    train = Dataset(
        images=table.images,
        labels=_encode(table, target),
        ids=np.arange(len(table)) if table.ids is None else table.ids,
        targets=(target,),
        groups=_groups(table, groups),
    )
    test, submission = None, None
    if path.is_dir() and (test_path := find_csv(path, "test")) is not None:
        test = _read_like(test_path, train, cache_dir)
        submission = _submission(path, test, test_path)
    return Task(
        name=(folder if path.is_dir() else path).resolve().name.split(".")[0],
        train=train,
        test=test,
        holdouts={
            _stem(p): _read_like(p, train, cache_dir, labelled=True)
            for p in _holdout_paths(data.holdout, path, folder, train_path, header)
        },
        submission=submission,
    )


def load_unlabelled(
    path: str | Path, like: tuple[int, int, int], first_id: int = 1, cache_dir: Path | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, 1, H, W) and ids (N,) of a test file, or of a folder's; labels are ignored.

    `like` is the (C, H, W) that the model was trained on. A file without an id column has the ids first_id,
    first_id + 1, .. as Digit Recognizer counts them.

    Raises DataError when the file is missing, malformed, or of another image size.
    """
    path = _existing(path)
    if path.is_dir():
        found = find_csv(path, "test")
        if found is None:
            raise DataError(f"The folder {path} has no test.csv or test.csv.gz. It has: {listing(path)}.")
        path = found
    table = read_pixel_csv(path, cache_dir)
    if table.images.shape[1:] != tuple(like):
        channels, height, width = like
        raise DataError(
            f"{path} has grey images of {_size(table.images)} pixels, but the model was trained on "
            f"{height}x{width} with {channels} channel(s)."
        )
    return table.images, _test_ids(table, first_id)


def read_pixel_csv(path: Path, cache_dir: Path | None = None) -> PixelTable:
    """Read one file, from its parsed copy under `cache_dir` where there is one.

    Raises DataError when the file cannot be read, is cut short, has no rows, or its pixel columns or pixels
    (whole numbers 0..255) are not as they should be; with the row and column.
    """
    with _readable(path):
        images, columns = cached(path, READER, cache_dir, _parse)
    return PixelTable(path, images, columns)


def find_csv(folder: Path, stem: str) -> Path | None:
    """`stem`.csv or `stem`.csv.gz in the folder, or None. Raises DataError when both are there."""
    found = [p for p in (folder / f"{stem}.csv", folder / f"{stem}.csv.gz") if p.is_file()]
    if len(found) == 2:
        raise DataError(f"{folder} has both {found[0].name} and {found[1].name}. Keep one of them.")
    return found[0] if found else None


def listing(folder: Path, most: int = 8) -> str:
    """The names in a folder, the first few of them, for an error message."""
    names = sorted(p.name + "/" * p.is_dir() for p in folder.iterdir())
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "nothing"


# ── one file ─────────────────────────────────────────────────────────────────────────────────────────


def _parse(path: Path) -> Parsed:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    header = _read_header(path)
    side = _side(path, header)
    others = _others(header)
    try:
        reader = arrow_csv.open_csv(
            path,
            read_options=arrow_csv.ReadOptions(column_names=header, skip_rows=1, block_size=BLOCK_BYTES),
            # Straight to bytes: as int64, 60,000 images of 28x28 are 376 MB. No text counts as null, so that
            # an empty pixel is an error and an empty label stays visible.
            convert_options=arrow_csv.ConvertOptions(
                column_types={name: pa.string() if name in others else pa.uint8() for name in header},
                null_values=[],
                strings_can_be_null=False,
            ),
        )
        blocks: list[np.ndarray] = []
        texts: dict[str, list[str]] = {name: [] for name in others}
        pixels = [name for name in header if name not in others]
        for batch in reader:
            if batch.num_rows == 0:
                continue
            blocks.append(batch.select(pixels).to_tensor(row_major=True).to_numpy())
            for name in others:
                texts[name] += batch.column(name).to_pylist()
    except pa.ArrowInvalid as error:
        _explain(path, header)
        raise DataError(f"{path} cannot be read as CSV: {error}") from error
    if not blocks:
        raise DataError(f"{path} has a header but no rows.")
    images = np.concatenate(blocks).reshape(-1, 1, side, side)
    return images, {name: np.array([t.strip() for t in text]) for name, text in texts.items()}


def _explain(path: Path, header: list[str]) -> None:
    """Find what the fast reader stumbled over, cell by cell, and raise it as a DataError."""
    usual = {str(i) for i in range(256)}
    pixels = [i for i, name in enumerate(header) if _is_pixel(name)]
    row = 0
    with _open_text(path) as file:
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
    return _is_whole(text) and int(text) <= 255


def _is_whole(text: str) -> bool:
    # isdigit alone would take the digits of every script, which make good class names here.
    return text.isascii() and text.isdigit()


def _read_header(path: Path) -> list[str]:
    with _readable(path), _open_text(path) as file:
        names = next(csv.reader(file), None)
    if not names:
        raise DataError(f"{path} is empty.")
    return [name.strip() for name in names]


def _side(path: Path, header: list[str]) -> int:
    """The images' height and width, from pixel columns that are what they should be."""
    pixels = [name for name in header if _is_pixel(name)]
    rule = "Pixel columns are pixel0, pixel1, .. in order, each once."
    if not pixels:
        raise DataError(
            f"{path} has no pixel columns (pixel0, pixel1, ..). Its columns: {_columns_seen(header)}."
        )
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise DataError(f"{path} has the column {twice[0]!r} twice. {rule}")
    present = set(pixels)
    absent = [f"pixel{i}" for i in range(max(int(n[5:]) for n in pixels)) if f"pixel{i}" not in present]
    if absent:
        raise DataError(f"{path} has no column {absent[0]!r}, but has {pixels[-1]!r}. {rule}")
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


def _is_pixel(name: str) -> bool:
    return re.fullmatch(r"pixel[0-9]+", name) is not None


def _others(header: list[str]) -> list[str]:
    return [name for name in header if not _is_pixel(name)]


def _has(header: list[str], names: tuple[str, ...]) -> bool:
    return any(name.lower() in names for name in header)


def _columns_seen(header: list[str]) -> str:
    names = [name[:40] for name in header]  # a file with another separator has one very long name
    shown = names if len(names) <= 6 else [*names[:4], "..", names[-1]]
    return f"{', '.join(shown)} ({len(header)} columns)"


def _open_text(path: Path) -> TextIO:
    opener = gzip.open if path.suffix == ".gz" else open
    return opener(path, "rt", encoding="utf-8-sig", newline="")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say in plain words that a file is missing, cut short or not text."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"There is no file {path}.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}.") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(_bad_gzip(path)) from error
    except OSError as error:
        # pyarrow has no errors of its own for gzip: it gives an OSError without a number.
        damaged = path.suffix == ".gz" and error.errno is None
        raise DataError(_bad_gzip(path) if damaged else f"{path} cannot be read: {error}") from error


def _bad_gzip(path: Path) -> str:
    return f"{path} is cut short, damaged, or not a gzip file. Copy or download it again."


# ── labels, ids, groups ──────────────────────────────────────────────────────────────────────────────


def _named(columns: dict[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray | None:
    return next((column for name, column in columns.items() if name.lower() in names), None)


def _as_ids(text: np.ndarray) -> np.ndarray:
    """int64 if every id is a whole number in its plain form, else the text ('007' is not 7)."""
    try:
        numbers = text.astype(np.int64)
    except (ValueError, OverflowError):
        return text
    return numbers if np.array_equal(numbers.astype(str), text) else text


def _distinct_labels(table: PixelTable) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The distinct labels in plain form ('07' is '7'), the first row of each, each row's position (N,)."""
    distinct, first, position = np.unique(table.labels, return_index=True, return_inverse=True)
    if distinct[0] == "":
        raise DataError(f"{table.path}, row {first[0] + 1}: the label is missing.")
    numeric = [re.fullmatch(r"[+-]?[0-9]+\.?[0-9]*([eE][+-]?[0-9]+)?", name) is not None for name in distinct]
    whole = [_is_whole(name) for name in distinct]
    if any(numeric) and not all(whole):
        row, bad = min((first[i], distinct[i]) for i in range(len(distinct)) if not whole[i])
        raise DataError(
            f"{table.path}, row {row + 1}: the label is {str(bad)!r}. Labels are whole numbers from 0 on, "
            f"or all of them are names."
        )
    return [str(int(name)) if whole[0] else str(name) for name in distinct], first, position


def _classes(table: PixelTable) -> tuple[str, ...]:
    names = set(_distinct_labels(table)[0])
    if len(names) < 2:
        raise DataError(
            f"{table.path} has one class only, {min(names)!r}. There must be two or more to tell apart."
        )
    return tuple(sorted(names, key=int if all(map(_is_whole, names)) else None))


def _encode(table: PixelTable, target: Target) -> np.ndarray:
    """int64 (N, 1): each label's place among the classes."""
    names, first, position = _distinct_labels(table)
    place = {name: i for i, name in enumerate(target.classes)}
    unknown = sorted((first[i], name) for i, name in enumerate(names) if name not in place)
    if unknown:
        row, name = unknown[0]
        raise DataError(
            f"{table.path}, row {row + 1}: the label {name!r} does not occur in the training file, "
            f"whose classes are {', '.join(target.classes[:20])}{' ..' if len(target.classes) > 20 else ''}."
        )
    return np.array([place[name] for name in names], dtype=np.int64)[position][:, None]


def _groups(table: PixelTable, groups: str | RowGroups | None) -> np.ndarray | None:
    if groups is None:
        return None
    if isinstance(groups, RowGroups):
        return np.arange(len(table), dtype=np.int64) // groups.rows_per_group
    column = table.columns[groups]
    if (column == "").any():
        raise DataError(
            f"{table.path}, row {np.argmax(column == '') + 1}: the group in column {groups!r} is missing."
        )
    return np.unique(column, return_inverse=True)[1].astype(np.int64)


def _test_ids(table: PixelTable, first_id: int) -> np.ndarray:
    if table.ids is None:
        return np.arange(first_id, first_id + len(table), dtype=np.int64)
    _refuse_bad_ids(table.path, table.ids)
    return table.ids


def _refuse_bad_ids(path: Path, ids: np.ndarray) -> None:
    seen: dict[object, int] = {}
    for row, name in enumerate(ids.tolist(), start=1):
        if name == "":
            raise DataError(f"{path}, row {row}: the id is missing.")
        if name in seen:
            raise DataError(f"{path}, row {row}: the id {name!r} is already that of row {seen[name]}.")
        seen[name] = row


# ── the files around the training file ───────────────────────────────────────────────────────────────


def _existing(path: str | Path | None) -> Path:
    if path is None:
        raise DataError(
            "The format 'kaggle_csv' needs data.path: a folder with train.csv, or a training file."
        )
    path = Path(path).expanduser()
    if not path.exists():
        raise DataError(f"There is no file or folder {path}. Relative paths start at {Path.cwd()}.")
    return path


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".csv")


def _size(images: np.ndarray) -> str:
    return "x".join(str(n) for n in images.shape[2:])


def _read_like(path: Path, train: Dataset, cache_dir: Path | None, labelled: bool = False) -> Dataset:
    """A test or holdout file with the training file's image size and classes."""
    table = read_pixel_csv(path, cache_dir)
    if table.images.shape[1:] != train.images.shape[1:]:
        raise DataError(
            f"{path} has images of {_size(table.images)} pixels, but those of the training file have "
            f"{_size(train.images)}."
        )
    if labelled and table.labels is None:
        raise DataError(f"{path} is named in data.holdout, but has no column 'label' to score against.")
    return Dataset(
        images=table.images,
        labels=None if table.labels is None else _encode(table, train.targets[0]),
        ids=np.arange(len(table)) if labelled and table.ids is None else _test_ids(table, first_id=1),
        targets=train.targets,
    )


def _holdout_paths(
    names: tuple[str, ...] | None, given: Path, folder: Path, train_path: Path, header: list[str]
) -> list[Path]:
    if names is not None:
        paths = []
        for name in names:
            path = folder / name
            path = path if path.is_file() else find_csv(folder, name)
            if path is None:
                raise DataError(f"data.holdout names {name!r}, but {folder} has: {listing(folder)}.")
            paths.append(path)
        return paths
    if given.is_file():  # beside a single training file nothing is taken for granted
        return []
    pixels = {name for name in header if _is_pixel(name)}
    found: list[Path] = []
    for path in sorted([*folder.glob("*.csv"), *folder.glob("*.csv.gz")]):
        if path == train_path or _stem(path) in ("test", "sample_submission"):
            continue
        columns = _read_header(path)
        if _has(columns, LABEL_NAMES) and pixels == {name for name in columns if _is_pixel(name)}:
            found.append(path)
    for path in found:
        find_csv(folder, _stem(path))  # refuses the same file twice, plain and compressed
    return found


def _submission(folder: Path, test: Dataset, test_path: Path) -> SubmissionFormat:
    path = find_csv(folder, "sample_submission")
    if path is None:
        own = _has(_read_header(test_path), ID_NAMES)
        return SubmissionFormat(*(("id", "label") if own else ("ImageId", "Label")), test.ids)
    with _readable(path), _open_text(path) as file:
        rows = [cells for cells in csv.reader(file) if cells]
    if not rows or any(len(cells) != 2 for cells in rows):
        raise DataError(f"{path} must have two columns, the id and the label, and a header.")
    ids = _as_ids(np.array([cells[0].strip() for cells in rows[1:]], dtype=str))
    _refuse_bad_ids(path, ids)
    only_sample, only_test = (
        set(ids.tolist()) - set(test.ids.tolist()),
        set(test.ids.tolist()) - set(ids.tolist()),
    )
    if only_sample or only_test:
        odd = (
            f"{min(only_sample)!r} is only in the first"
            if only_sample
            else f"{min(only_test)!r} is only in the second"
        )
        raise DataError(
            f"The ids of {path} ({len(ids):,} rows) and of {test_path} ({len(test):,} rows) differ: {odd}. "
            f"A test file without an id column is counted from 1. Are both files of one competition?"
        )
    return SubmissionFormat(rows[0][0].strip(), rows[0][1].strip(), ids)
