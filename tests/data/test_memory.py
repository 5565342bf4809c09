"""Data sets from arrays and tables in memory."""

import numpy as np
import pandas as pd
import pytest

from tune_digits.data.dataset import Task
from tune_digits.data.memory import from_arrays, to_images, to_text
from tune_digits.errors import DataError

X = np.random.default_rng(0).integers(0, 256, (12, 4, 4), np.uint8)
Y = np.arange(12) % 3


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


def test_the_likelier_axis_of_channels_is_taken():
    for shape, made in (
        ((5, 3, 4, 3), (5, 3, 3, 4)),  # last before first
        ((5, 3, 4, 4), (5, 3, 4, 4)),  # 3 before 4
        ((5, 4, 6, 1), (5, 1, 4, 6)),
        ((5, 4, 6, 6), (5, 4, 6, 6)),
    ):
        assert to_images(np.zeros(shape, np.uint8)).shape == made


def test_floats_are_rounded_to_the_nearest_byte():
    assert to_images(np.array([[[0.0, 0.1234], [0.5019, 1.0]]])).ravel().tolist() == [0, 31, 128, 255]


def test_bytes_in_order_are_not_copied():
    assert np.shares_memory(to_images(X), X)


def test_yes_and_no_are_black_and_white():
    np.testing.assert_array_equal(to_images(X > 99), (X > 99)[:, None] * 255)


def test_long_arrays_are_converted_piece_by_piece(monkeypatch):
    monkeypatch.setattr("tune_digits.data.memory.CHUNK", 40)  # two images
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
    train = from_arrays(X, ["ash", "oak", "elm"] * 4)
    assert train.targets[0].classes == ("ash", "elm", "oak") and train.labels[:3, 0].tolist() == [0, 2, 1]
    assert Task("mine", train).describe() == "mine: 12 train, 4x4x1, 3 classes"
    several = from_arrays(X, np.stack([Y, Y > 0], axis=1))
    assert [t.name for t in several.targets] == ["target0", "target1"] and several.labels.shape == (12, 2)
    assert from_arrays(X).labels is None
    with pytest.raises(DataError, match=r"11 labels.*12 images"):
        from_arrays(X, Y[1:])


def test_from_tables():
    table = pd.DataFrame(X.reshape(12, 16), columns=[f"pixel{i}" for i in range(16)])
    table.insert(0, "label", Y)
    table["writer"] = [f"w{i // 4}" for i in range(12)]
    table["image_id"] = np.arange(100, 112)
    train = from_arrays(table)
    np.testing.assert_array_equal(train.images, X[:, None])
    np.testing.assert_array_equal(train.labels[:, 0], Y)
    np.testing.assert_array_equal(train.ids, np.arange(100, 112))
    assert train.columns["writer"][4] == "w1" and list(train.columns) == ["label", "writer", "image_id"]
    bare = from_arrays(table.iloc[:, 1:17].rename(columns=lambda c: c[5:]), table["label"])
    np.testing.assert_array_equal(bare.images, X[:, None])
    heads = from_arrays(X, pd.DataFrame({"root": Y, "vowel": ["a", "b"] * 6}))
    assert [(t.name, t.classes) for t in heads.targets] == [("root", ("0", "1", "2")), ("vowel", ("a", "b"))]
    with pytest.raises(DataError, match="no column 'pixel3'"):
        from_arrays(table.drop(columns="pixel3"))
    table.loc[5, "label"] = None
    with pytest.raises(DataError, match="row 6: the label is missing"):
        from_arrays(table)
