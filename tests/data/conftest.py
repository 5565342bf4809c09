"""Small files in Kaggle's CSV form."""

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tune_digits.config import Data
from tune_digits.errors import DataError

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
def refuses(tmp_path: Path) -> Callable[..., None]:
    """Call, and find every one of the words in the DataError's message; no file is changed or made."""

    def content() -> dict[Path, tuple[bytes, int]]:
        return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.is_file()}

    def check(call: Callable[[], object], *words: str) -> None:
        before = content()
        with pytest.raises(DataError) as caught:
            call()
        for word in words:
            assert word in str(caught.value), str(caught.value)
        assert content() == before

    return check


@pytest.fixture
def make_table() -> Callable[..., Table]:
    return table


@pytest.fixture
def write_csv() -> Callable[[Path, Table | str | bytes], Path]:
    return write


@pytest.fixture
def as_text() -> Callable[..., str]:
    return text


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


@pytest.fixture
def make_idx() -> Callable[..., Path]:
    return write_idx


@pytest.fixture
def sample_of(tmp_path: Path, kannada: Path) -> Callable[[str], Data]:
    """A small data set in any format of the table of loaders."""

    def make(name: str) -> Data:
        if name == "digits":
            return Data()
        if name == "kaggle_csv":
            return Data(path=str(kannada))
        if name == "idx":
            return Data(path=str(write_idx(tmp_path / "idx")))
        if name == "torchvision":
            write_idx(tmp_path / "KMNIST" / "raw", end=".gz")
            return Data(path="torchvision:KMNIST", root=str(tmp_path))
        if name == "arrays":
            x = np.random.default_rng(0).integers(0, 256, (36, 3, 3), np.uint8)
            np.savez(tmp_path / "a.npz", x_train=x[:30], y_train=np.arange(30) % 3, x_test=x[30:])
            return Data(path=str(tmp_path / "a.npz"))
        return write_images(tmp_path / name, name)

    return make


def write_images(folder: Path, name: str) -> Data:
    """20 training and 4 test images of 5x5 in the form `name`, two classes."""
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (24, 5, 5), np.uint8)
    labels = [f"class{i % 2}" for i in range(20)]
    if name == "bengali":
        import pandas as pd

        ids = [f"Train_{i}" for i in range(20)] + [f"Test_{i}" for i in range(4)]
        flat = pd.DataFrame(pixels.reshape(24, 25), columns=[str(i) for i in range(25)])
        flat.insert(0, "image_id", ids)
        heads = ("grapheme_root", "vowel_diacritic", "consonant_diacritic")
        folder.mkdir()
        flat[:20].to_parquet(folder / "train_image_data_0.parquet")
        flat[20:].to_parquet(folder / "test_image_data_0.parquet")
        rows = [[f"{i}_{head}", i, head] for i in ids[20:] for head in heads]
        write(folder / "test.csv", [["row_id", "image_id", "component"], *rows])
        write(
            folder / "train.csv",
            [["image_id", *heads], *([i, n % 2, n % 2, n % 2] for n, i in enumerate(ids[:20]))],
        )
        return Data(path=str(folder))
    for i, image in enumerate(pixels):
        path = folder / "images" / f"{i}.png"
        if name == "class_folders":
            path = folder / ("test" if i >= 20 else f"train/{labels[i]}") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    if name == "image_folder":
        write(
            folder / "train.csv", [["image", "label"], *([f"images/{i}.png", labels[i]] for i in range(20))]
        )
        write(folder / "test.csv", [["image"], *([f"images/{i}.png"] for i in range(20, 24))])
    return Data(path=str(folder))
