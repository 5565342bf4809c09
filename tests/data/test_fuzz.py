"""Whatever a file holds, a reader gives a valid data set or raises DataError."""

import csv
import gzip
import io
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tune_digits.config import Cv
from tune_digits.data.formats import Auto
from tune_digits.data.load import load_task
from tune_digits.errors import DataError

# TUNE_DIGITS_FUZZ=20000 tries that many of each, at random
EXAMPLES = int(os.environ.get("TUNE_DIGITS_FUZZ", "60"))
quick = settings(
    max_examples=EXAMPLES,
    derandomize="TUNE_DIGITS_FUZZ" not in os.environ,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def read(files):
    """The task in a folder of these files, or None where they are refused."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        path = Path(folder) / next(iter(files)) if len(files) == 1 else Path(folder)
        try:
            task = load_task(Auto(path=str(path)), Cv())
        except DataError as error:
            assert str(error)
            return None
    train = task.train
    assert train.images.dtype == np.uint8 and train.images.ndim == 4 and len(train) == len(train.labels)
    assert train.labels.min() >= 0
    assert (train.labels.max(axis=0) < [len(target.classes) for target in task.targets]).all()
    return task


def damaged(draw, content):
    """The content, often with a few bytes of it changed, cut off or put in."""
    content = bytearray(content)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(content)))
        kind = draw(st.sampled_from(["set", "cut", "insert", "drop"]))
        if kind == "cut":
            content = content[:place]
        elif kind == "insert":
            content[place:place] = draw(st.binary(max_size=8))
        elif kind == "drop":
            del content[place : place + draw(st.integers(1, 8))]
        elif place < len(content):
            content[place] = draw(st.integers(0, 255))
    return bytes(content)


CELLS = st.one_of(
    st.integers(-2, 300).map(str),
    st.sampled_from(
        ["", " ", "nan", "3.7", "1e2", "+5", " 7 ", '"8"', '"1,2"', "0x10", "007", "oak", "é", "1_0", "٣"]
    ),
    st.text(max_size=3),
)


@st.composite
def tables(draw):
    side = draw(st.integers(1, 3))
    names = [
        *draw(st.sampled_from([["label"], ["id", "label"], ["id"], ["Label", "user"], []])),
        *(f"pixel{i}" for i in range(side * side)),
    ]
    if draw(st.integers(0, 4)) == 0:
        names[draw(st.integers(0, len(names) - 1))] = draw(st.text(max_size=6))
    strange = draw(st.integers(0, 4)) == 0
    good = st.integers(0, 255).map(str)
    rows = [
        [draw(CELLS if strange and draw(st.integers(0, 3)) == 0 else good) for _ in names]
        for _ in range(draw(st.integers(0, 4)))
    ]
    end = draw(st.sampled_from(["\n", "\r\n", "\r", "\n\n"]))
    text = "".join(",".join(row) + end for row in [names, *rows])
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "latin-1", "utf-16"]))
    return text.encode(encoding, "replace")


def cells_of(content):
    """What the csv module reads of a pixel CSV: pixels (N, P) and labels, as whole numbers."""
    rows = [row for row in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")) if row]
    names = [name.strip() for name in rows[0]]
    pixels = [i for i, name in enumerate(names) if name.startswith("pixel")]
    label = next(i for i, name in enumerate(names) if name.lower() == "label")
    # pyarrow reads 0x10 as 16
    values = [[int(row[i], 16 if "x" in row[i].lower() else 10) for i in pixels] for row in rows[1:]]
    return np.array(values), [row[label].strip() for row in rows[1:]]


@quick
@given(st.data())
def test_pixel_csv(data):
    content = damaged(data.draw, data.draw(tables()))
    suffix = data.draw(st.sampled_from([".csv", ".csv.gz", ".zip"]))
    packed = content
    if suffix == ".csv.gz":
        packed = damaged(data.draw, gzip.compress(content, mtime=0))
    if suffix == ".zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", data.draw(st.sampled_from([0, 8]))) as archive:
            archive.writestr("train.csv", content)
        packed = damaged(data.draw, buffer.getvalue())
    task = read({f"train{suffix}": packed})
    if task is not None and task.train.images.shape[1:]:
        try:
            pixels, labels = cells_of(content)
        except (ValueError, UnicodeDecodeError, StopIteration, csv.Error) as error:
            raise AssertionError(f"was read, though the csv module cannot: {content!r}") from error
        np.testing.assert_array_equal(task.train.images.reshape(len(pixels), -1), pixels)
        for name, number in zip(labels, task.train.labels[:, 0], strict=True):
            known = task.targets[0].classes[number]
            assert known == name or int(known) == int(name)


@quick
@given(st.data())
def test_folder(data):
    """A test file, a sample submission and an extra file beside a good training file."""
    pixels = [f"pixel{i}" for i in range(4)]
    files = {
        "train.csv": ["label", *pixels],
        "test.csv": ["id", *pixels],
        "sample_submission.csv": ["id", "label"],
    }
    files["other.csv"] = files["train.csv"]
    for name, header in files.items():
        rows = [[str(row % 3), *(str(row) for _ in header[1:])] for row in range(3)]
        content = "".join(",".join(cells) + "\n" for cells in [header, *rows]).encode()
        files[name] = content if name == "train.csv" else damaged(data.draw, content)
    read(files)


@quick
@given(st.data())
def test_idx(data):
    shape = data.draw(st.lists(st.integers(0, 4), min_size=0, max_size=4))
    count = data.draw(st.one_of(st.just(int(np.prod(shape))), st.integers(0, 64)))
    head = bytes([0, 0, data.draw(st.sampled_from([8, 8, 8, 9, 11, 13, 7])), len(shape)])
    images = head + np.array(shape, ">u4").tobytes() + bytes(count)
    rows = shape[0] if shape else 0
    kind = data.draw(st.sampled_from([8, 8, 9, 12, 13]))
    width = {8: 1, 9: 1, 12: 4, 13: 4}[kind]
    body = data.draw(st.binary(min_size=rows * width, max_size=rows * width))
    labels = bytes([0, 0, kind, 1]) + np.array([rows], ">u4").tobytes() + body
    end = data.draw(st.sampled_from(["", ".gz"]))
    files = {"train-images-idx3-ubyte": images, "train-labels-idx1-ubyte": labels}
    if data.draw(st.booleans()):
        files["t10k-images-idx3-ubyte"] = images
    pack = (lambda c: gzip.compress(c, mtime=0)) if end else bytes
    read(
        {name + end: damaged(data.draw, pack(damaged(data.draw, content))) for name, content in files.items()}
    )


KINDS = ("u1", "i8", "f4", "f8", "?", "U2", "S2", "c8", "M8[D]", "f2", ">i4", "u8")


@st.composite
def any_array(draw, rows):
    shape = (rows, *draw(st.lists(st.integers(0, 4), max_size=3)))
    kind = draw(st.sampled_from(KINDS))
    if kind == "f8" and draw(st.booleans()):
        values = draw(st.lists(st.floats(), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
        return np.array(values).reshape(shape)
    return np.random.default_rng(draw(st.integers(0, 9))).integers(0, 5, shape).astype(kind)


@quick
@given(st.data())
def test_arrays(data):
    rows = data.draw(st.integers(0, 5))
    names = data.draw(
        st.lists(st.sampled_from(["x", "y", "x_train", "y_train", "x_test", "y_test", "z", "val_labels"]))
    )
    arrays = {name: data.draw(any_array(rows)) for name in dict.fromkeys(["x", "y", *names])}
    buffer = io.BytesIO()
    save = np.savez if data.draw(st.booleans()) else np.savez_compressed
    save(buffer, **arrays)
    read({"a.npz": damaged(data.draw, buffer.getvalue())})
    single = {}
    for name, array in arrays.items():
        plain = io.BytesIO()
        np.save(plain, array)
        single[f"{name}.npy"] = damaged(data.draw, plain.getvalue())
    read(single)
