import io
import zipfile

import numpy as np
import pytest

from tune_digits.config import Cv
from tune_digits.data.formats import Auto
from tune_digits.data.load import load_task, load_unlabelled
from tune_digits.data.readers.arrays import Options

X = np.random.default_rng(0).integers(0, 256, (12, 4, 4), np.uint8)
Y = np.arange(12) % 3


def sample(folder):
    x = np.random.default_rng(0).integers(0, 256, (36, 3, 3), np.uint8)
    np.savez(folder / "a.npz", x_train=x[:30], y_train=np.arange(30) % 3, x_test=x[30:])
    return Options(path=str(folder / "a.npz"))


def load(path, cv=None, **data):
    return load_task(Auto(path=str(path), **data), cv or Cv())


# ── files ────────────────────────────────────────────────────────────────────────────────────────────


def test_keras_form(tmp_path):
    np.savez(tmp_path / "mnist.npz", x_train=X, y_train=Y, x_test=X[:5], y_test=Y[:5], writer_train=Y // 2)
    task = load(tmp_path / "mnist.npz", Cv(groups="writer", folds=2))
    assert task.describe() == "mnist: 12 train, 5 test, 4x4x1, 3 classes"
    np.testing.assert_array_equal(task.train.images[:, 0], X)
    np.testing.assert_array_equal(task.test.labels[:, 0], Y[:5])
    np.testing.assert_array_equal(task.train.groups, Y // 2)
    assert task.submission.ids.tolist() == [0, 1, 2, 3, 4]
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
    refuses(lambda: load_task(Options(path=str(tmp_path)), Cv()), "no files x_train.npy")
    np.savez(tmp_path / "x_train.npz", X, Y)
    refuses(lambda: load(tmp_path), "x_train.npz has 2 arrays (arr_0, arr_1)")
    np.savez(tmp_path / "x_train.npz", X)
    np.save(tmp_path / "x_train.npy", X)
    refuses(lambda: load(tmp_path), "both x_train.npy and x_train.npz")
    refuses(lambda: load_unlabelled(tmp_path / "x_train.npy", (3, 4, 4)), "(1, 4, 4)", "(3, 4, 4)")
