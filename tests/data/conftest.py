"""Small files in Kaggle's CSV form."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Table = list[list[object]]


def table(
    rows: int = 20, side: int = 2, first: str | None = "label", classes: int = 2, seed: int = 0
) -> Table:
    """A header and `rows` rows: the column `first` (row number modulo classes, or the id), then pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (rows, side * side)).tolist()
    names = [f"pixel{i}" for i in range(side * side)]
    if first is None:
        return [names, *pixels]
    heads = [i % classes if first == "label" else i for i in range(rows)]
    return [[first, *names], *([head, *row] for head, row in zip(heads, pixels, strict=True))]


def text(rows: Table, end: str = "\n") -> str:
    return "".join(",".join(map(str, row)) + end for row in rows)


def write(path: Path, content: Table | str | bytes) -> Path:
    content = text(content) if isinstance(content, list) else content
    content = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.fixture
def kannada(tmp_path: Path) -> Path:
    """A folder in Kannada-MNIST's form, compressed, with the extra labelled file."""
    folder = tmp_path / "kannada"
    write(folder / "train.csv.gz", table(30, 3, classes=3))
    write(folder / "test.csv.gz", table(6, 3, first="id", seed=1))
    write(folder / "Dig-MNIST.csv.gz", table(9, 3, classes=3, seed=2))
    write(folder / "sample_submission.csv", "id,label\n" + "".join(f"{i},0\n" for i in range(6)))
    return folder


@pytest.fixture
def recognizer(tmp_path: Path) -> Path:
    """A folder in Digit Recognizer's form: the test file has pixels only, and ids are counted from 1."""
    folder = tmp_path / "recognizer"
    write(folder / "train.csv", table(30, 3, classes=3))
    write(folder / "test.csv", table(6, 3, first=None, seed=1))
    write(folder / "sample_submission.csv", "ImageId,Label\n" + "".join(f"{i},0\n" for i in range(1, 7)))
    return folder


@pytest.fixture
def make_table() -> Callable[..., Table]:
    return table


@pytest.fixture
def write_csv() -> Callable[[Path, Table | str | bytes], Path]:
    return write


@pytest.fixture
def as_text() -> Callable[..., str]:
    return text
