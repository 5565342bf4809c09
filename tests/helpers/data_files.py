"""Small data files in several forms, for tests."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np

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
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(path.stem.removesuffix(".csv") + ".csv", content)
        return path
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_kannada(folder: Path) -> Path:
    """A folder in Kannada-MNIST's form, compressed, with the extra labelled file."""
    write(folder / "train.csv.gz", table(30, 3, classes=3))
    write(folder / "test.csv.gz", table(6, 3, first="id", seed=1))
    write(folder / "Dig-MNIST.csv.gz", table(9, 3, classes=3, seed=2))
    write(folder / "sample_submission.csv", "id,label\n" + "".join(f"{i},0\n" for i in range(6)))
    return folder


def idx_bytes(array: np.ndarray) -> bytes:
    """An IDX file of uint8 numbers."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def write_idx(folder: Path, begin: str = "", end: str = "", side: tuple[int, int] = (3, 3)) -> Path:
    """MNIST's four files: 30 training and 6 test images of three classes."""
    for seed, (part, rows) in enumerate((("train", 30), ("t10k", 6))):
        images = np.random.default_rng(seed).integers(0, 256, (rows, *side), np.uint8)
        write(folder / f"{begin}{part}-images-idx3-ubyte{end}", idx_bytes(images))
        write(
            folder / f"{begin}{part}-labels-idx1-ubyte{end}", idx_bytes(np.arange(rows, dtype=np.uint8) % 3)
        )
    return folder


def graphemes(count: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a root and a vowel, as in Bengali, and their combinations as groups; the last root has the vowel 0."""
    rng = np.random.default_rng(seed)
    labels = np.stack([rng.integers(0, 6, count), rng.integers(0, 5, count)], axis=1)
    labels[labels[:, 0] == 5, 1] = 0
    return labels, np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)
