"""Small files of several formats, real data where they lie beside the checkout, and refusals."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from data_files import Table, table, text, write, write_idx, write_kannada

from tune_digits.data.options import DataOptions
from tune_digits.data.readers import READERS
from tune_digits.errors import DataError

REAL = Path(__file__).parents[3] / "shared" / "data"  # beside the checkout


@pytest.fixture
def kannada(tmp_path: Path) -> Path:
    """A folder in Kannada-MNIST's form, compressed, with the extra labelled file."""
    return write_kannada(tmp_path / "kannada")


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


@pytest.fixture
def make_idx() -> Callable[..., Path]:
    return write_idx


@pytest.fixture
def sample_of(tmp_path: Path) -> Callable[[str], DataOptions]:
    """The options of a small data set of any format, made by the function `sample` of its reader's test file."""

    def make(name: str) -> DataOptions:
        module = READERS[name].__name__.rpartition(".")[2]
        file = Path(__file__).parent / "readers" / f"test_{module}.py"
        folder = tmp_path / "sample"
        folder.mkdir()
        return runpy.run_path(str(file))["sample"](folder)

    return make


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder of real data: kannada/, mnist/, leaves/ and bengali/, each in its competition's form."""
    if not REAL.is_dir():
        pytest.skip(f"real data are read where they lie beside the checkout, in {REAL}, which is not there")
    return REAL
