import io
import zipfile

import numpy as np
import pandas as pd
import pytest

from tune_digits.config import Cv, Data
from tune_digits.data.dataset import Dataset, Task
from tune_digits.data.load import load_task, load_unlabelled
from tune_digits.data.readers.arrays import to_images, to_text
from tune_digits.errors import DataError

X = np.random.default_rng(0).integers(0, 256, (12, 4, 4), np.uint8)
Y = np.arange(12) % 3


def load(path, cv=None, **data):
    return load_task(Data(path=str(path), **data), cv or Cv())


# ── in memory ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "x",
    [
        X,
        X[..., None],
        X[:, None],
        X.reshape(12, 16),
        X.astype(np.int64),
        X.astype(np.float64),
        (X / 255).astype(np.float32),
        X / 255,
        np.asfortranarray(X),
        X.tolist(),
    ],
)
def test_every_form_of_grey_images(x):
    images = to_images(x)
    np.testing.assert_array_equal(images, X[:, None])
    assert images.dtype == np.uint8 and images.flags.c_contiguous


def test_colours_come_first():
    x = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), np.uint8)
    np.testing.assert_array_equal(to_images(x), np.moveaxis(x, 3, 1))
    np.testing.assert_array_equal(to_images(np.moveaxis(x, 3, 1)), np.moveaxis(x, 3, 1))
    assert to_images(x).flags.c_contiguous


def test_bytes_in_order_are_not_copied():
    assert np.shares_memory(to_images(X), X)


def test_yes_and_no_are_black_and_white():
    np.testing.assert_array_equal(to_images(X > 99), (X > 99)[:, None] * 255)


def test_long_arrays_are_converted_piece_by_piece(monkeypatch):
    monkeypatch.setattr("tune_digits.data.readers.arrays.CHUNK", 40)  # two images
    np.testing.assert_array_equal(to_images(X.astype(float)), X[:, None])
    bad = X.astype(float)
    bad[7, 2, 1] = 256
    with pytest.raises(DataError, match=r"image 7 .from 0., channel 0, row 2, column 1: the value is 256"):
        to_images(bad)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.zeros((3, 5)), r"shape \(3, 5\)"),
        (np.zeros(3), r"shape \(3,\)"),
        (np.zeros((3, 9, 9, 9)), r"shape \(3, 9, 9, 9\)"),
        (np.zeros((0, 4, 4)), "no images"),
        (np.zeros((3, 0)), "no images"),
        (np.full((3, 4, 4), "a"), "kind <U1"),
        (np.zeros((3, 4, 4), complex), "kind complex128"),
        (np.full((3, 4, 4), -1), "value is -1"),
        (np.full((3, 4, 4), 3.7), "value is 3.7"),
        (np.full((3, 4, 4), np.nan), "value is nan"),
        (np.full((3, 4, 4), np.inf), "value is inf"),
    ],
)
def test_other_shapes_and_values(x, words):
    with pytest.raises(DataError, match=words):
        to_images(x, "x")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1, 10], ["1", "10"]),
        (np.array([1.0, np.nan]), ["1", ""]),
        ([1.5, 2.0], ["1.5", "2"]),
        (["a ", "b"], ["a", "b"]),
        (np.array([b"a", b"b"]), ["a", "b"]),
        (pd.Series([1, None], dtype="Int64"), ["1", ""]),
        (np.array([["a", None]], object).T, ["a", ""]),
        (np.array([[3], [4]]), ["3", "4"]),
    ],
)
def test_labels_as_text(values, text):
    assert to_text(values, "y").tolist() == text


def test_from_arrays():
    train = Dataset.from_arrays(X, ["ash", "oak", "elm"] * 4)
    assert train.targets[0].classes == ("ash", "elm", "oak") and train.labels[:3, 0].tolist() == [0, 2, 1]
    assert Task("mine", train).describe() == "mine: 12 train, 4x4x1, 3 classes"
    several = Dataset.from_arrays(X, np.stack([Y, Y > 0], axis=1))
    assert [t.name for t in several.targets] == ["target0", "target1"] and several.labels.shape == (12, 2)
    assert Dataset.from_arrays(X).labels is None
    with pytest.raises(DataError, match=r"11 labels.*12 images"):
        Dataset.from_arrays(X, Y[1:])


def test_from_tables():
    table = pd.DataFrame(X.reshape(12, 16), columns=[f"pixel{i}" for i in range(16)])
    table.insert(0, "label", Y)
    table["writer"] = [f"w{i // 4}" for i in range(12)]
    table["image_id"] = np.arange(100, 112)
    train = Dataset.from_arrays(table)
    np.testing.assert_array_equal(train.images, X[:, None])
    np.testing.assert_array_equal(train.labels[:, 0], Y)
    np.testing.assert_array_equal(train.ids, np.arange(100, 112))
    assert train.columns["writer"][4] == "w1" and list(train.columns) == ["label", "writer", "image_id"]
    bare = Dataset.from_arrays(table.iloc[:, 1:17].rename(columns=lambda c: c[5:]), table["label"])
    np.testing.assert_array_equal(bare.images, X[:, None])
    heads = Dataset.from_arrays(X, pd.DataFrame({"root": Y, "vowel": ["a", "b"] * 6}))
    assert [(t.name, t.classes) for t in heads.targets] == [("root", ("0", "1", "2")), ("vowel", ("a", "b"))]
    with pytest.raises(DataError, match="no column 'pixel3'"):
        Dataset.from_arrays(table.drop(columns="pixel3"))
    table.loc[5, "label"] = None
    with pytest.raises(DataError, match="row 6: the label is missing"):
        Dataset.from_arrays(table)


# ── files ────────────────────────────────────────────────────────────────────────────────────────────


def test_keras_form(tmp_path):
    np.savez(tmp_path / "mnist.npz", x_train=X, y_train=Y, x_test=X[:5], y_test=Y[:5], writer_train=Y // 2)
    task = load(tmp_path / "mnist.npz", Cv(groups="writer", folds=2))
    assert task.describe() == "mnist: 12 train, 5 test, 4x4x1, 3 classes"
    np.testing.assert_array_equal(task.train.images[:, 0], X)
    np.testing.assert_array_equal(task.test.labels[:, 0], Y[:5])
    np.testing.assert_array_equal(task.train.groups, Y // 2)
    np.testing.assert_array_equal(load_unlabelled(tmp_path / "mnist.npz", (1, 4, 4))[0], X[:5, None])


def test_plain_form(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=X, y=Y)
    task = load(tmp_path / "a.npz")
    assert task.test is None and task.submission is None and len(task.train) == 12


def test_medmnist_form(tmp_path):
    colour = np.random.default_rng(0).integers(0, 256, (12, 4, 4, 3), np.uint8)
    sets = {
        f"{part}_{what}": values
        for part in ("train", "val", "test")
        for what, values in (("images", colour), ("labels", Y[:, None]))
    }
    np.savez(tmp_path / "pathmnist.npz", **sets)
    assert load(tmp_path / "pathmnist.npz").describe() == (
        "pathmnist: 12 train, 12 test, 4x4x3, 3 classes, extra labelled set val 12"
    )
    assert load(tmp_path / "pathmnist.npz", extra=()).holdouts == {}


@pytest.mark.parametrize(
    ("x", "y", "test"),
    [
        ("kmnist-train-imgs", "kmnist-train-labels", "kmnist-test-imgs"),
        ("X_kannada_MNIST_train", "y_kannada_MNIST_train", "X_kannada_MNIST_test"),
    ],
)
def test_a_file_per_array(tmp_path, x, y, test):
    for name, values in ((x, X), (y, Y), (test, X[:5]), ("X_dig_MNIST", X)):
        np.savez_compressed(tmp_path / f"{name}.npz", values)
    task = load(tmp_path)
    assert task.describe() == f"{tmp_path.name}: 12 train, 5 test, 4x4x1, 3 classes"
    assert len(load_unlabelled(tmp_path, (1, 4, 4))[1]) == 5
    assert len(load_unlabelled(tmp_path / f"{test}.npz", (1, 4, 4))[1]) == 5


def test_npy_files(tmp_path):
    np.save(tmp_path / "x_train.npy", X)
    np.save(tmp_path / "y_train.npy", np.array(list("abc") * 4))
    assert load(tmp_path).targets[0].classes == ("a", "b", "c")
    assert len(load_unlabelled(tmp_path / "x_train.npy", (1, 4, 4))[0]) == 12


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": X}, ["no array y_train", "x"]),
        ({"data": X, "y": Y}, ["no array x_train", "data, y"]),
        ({"x": X, "x_train": X, "y": Y}, ["both x and x_train"]),
        ({"x": X, "y": Y[1:]}, ["11 labels", "12 images"]),
        ({"x": X, "y": Y * 0}, ["one class only", "'0'"]),
        ({"x": X, "y": Y - 0.5}, ["row 1", "'-0.5'"]),
        ({"x": X, "y": Y - 1}, ["row 1", "'-1'"]),
        ({"x": X, "y": np.stack([Y] * 3, 1)[:, None]}, ["a.npz, y", "shape (12, 1, 3)"]),
        ({"x": X.astype(int) * 2, "y": Y}, ["a.npz, x", "image 0", "from 0 to 255"]),
        ({"x": X, "y": Y, "x_test": X[:, 1:]}, ["x_test", "(1, 3, 4)", "(1, 4, 4)"]),
        ({"x": X, "y": Y, "x_test": X, "y_test": Y + 1}, ["y_test", "row 3", "'3'", "does not occur"]),
        ({"x": X, "y": Y.astype(object)}, ["Python objects", "not read"]),
    ],
)
def test_contradictions(tmp_path, refuses, arrays, words):
    np.savez(tmp_path / "a.npz", **arrays)
    refuses(lambda: load(tmp_path / "a.npz"), "a.npz", *words)


def test_damage(tmp_path, refuses):
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    whole = (tmp_path / "a.npz").read_bytes()
    for content in (b"", b"nonsense", whole[:-30], whole[:100], whole.replace(X.tobytes()[:16], bytes(16))):
        (tmp_path / "a.npz").write_bytes(content)
        refuses(lambda: load(tmp_path / "a.npz"), "a.npz", "damaged")
    np.save(tmp_path / "x_train.npy", X)
    whole = (tmp_path / "x_train.npy").read_bytes()
    # the second was found by the fuzz test: NumPy gives it to Python's tokenizer
    for content in (whole[:-1], whole[:10] + b"\0" + whole[11:], whole.replace(b"12, 4, 4", b"12, 4, 9")):
        (tmp_path / "x_train.npy").write_bytes(content)
        refuses(lambda: load_unlabelled(tmp_path / "x_train.npy", (1, 4, 4)), "x_train.npy", "damaged")


def test_a_member_that_is_no_array(tmp_path, refuses):
    buffer = io.BytesIO()
    np.save(buffer, Y)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", b"text")
        archive.writestr("y.npy", buffer.getvalue())
    refuses(lambda: load(tmp_path / "a.npz"), "a.npz")


def test_folders(tmp_path, refuses):
    refuses(lambda: load(tmp_path, format="arrays"), "no files x_train.npy")
    np.savez(tmp_path / "x_train.npz", X, Y)
    refuses(lambda: load(tmp_path), "x_train.npz has 2 arrays (arr_0, arr_1)")
    np.savez(tmp_path / "x_train.npz", X)
    np.save(tmp_path / "x_train.npy", X)
    refuses(lambda: load(tmp_path), "both x_train.npy and x_train.npz")
    refuses(lambda: load_task(Data(format="arrays"), Cv()), "needs data.path")
    refuses(lambda: load_unlabelled(tmp_path / "x_train.npy", (3, 4, 4)), "(1, 4, 4)", "(3, 4, 4)")
