"""A teacher's file is read as it was written, or refused with what is wrong in it."""

from __future__ import annotations

import numpy as np
import pytest

from tune_digits.config.loss import CrossEntropy
from tune_digits.errors import DataError
from tune_digits.tune.teacher import check_teacher, read_teacher, teacher_digest

HEADS = (slice(0, 3), slice(3, 5))
PROBA = np.tile(np.float32([0.2, 0.3, 0.5, 0.9, 0.1]), (4, 1))


def write(tmp_path, **arrays):
    file = tmp_path / "teacher.npz"
    np.savez(file, **arrays)
    return file


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_good_file_is_read_as_float32(tmp_path, dtype):
    out = read_teacher(write(tmp_path, proba=PROBA.astype(dtype)), 4, HEADS)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, PROBA, atol=1e-3)


def changed(row, column, value):
    proba = PROBA.copy()
    proba[row, column] = value
    return {"proba": proba}


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"logits": PROBA}, "with an array `proba`"),
        ({"proba": PROBA[:3]}, r"proba is \(3, 5\), but the training data have 4 rows and 5 classes"),
        ({"proba": PROBA[:, :4]}, r"it must be \(4, 5\)"),
        ({"proba": np.ones((4, 5), int)}, "must be floats, got int64"),
        ({"proba": np.full((4, 5), None)}, "cannot be read"),
        (changed(2, 1, np.nan), "proba row 2"),
        (changed(1, 3, 0.5), "proba row 1: must be probabilities that add up to 1"),
        ({"proba": PROBA - np.float32([0.4, -0.4, 0, 0, 0])}, "proba row 0"),
    ],
    ids=str,
)
def test_a_bad_file_is_refused_in_words(tmp_path, arrays, words):
    with pytest.raises(DataError, match=rf"teacher\.npz: .*{words}"):
        read_teacher(write(tmp_path, **arrays), 4, HEADS)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 broken", b"text"], ids=str)
def test_a_file_that_is_missing_or_broken_is_named(tmp_path, content):
    file = tmp_path / "teacher.npz"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match=r"teacher\.npz"):
        read_teacher(file, 4, HEADS)


def test_a_plain_npy_is_refused(tmp_path):
    np.save(tmp_path / "teacher.npy", PROBA)
    with pytest.raises(DataError, match=r"must be an \.npz"):
        read_teacher(tmp_path / "teacher.npy", 4, HEADS)


def test_a_teacher_is_checked_against_the_data_(tmp_path):
    one, loss = (slice(0, 4),), CrossEntropy(teacher=str(tmp_path / "t.npz"), teacher_weight=0.5)
    np.savez(tmp_path / "t.npz", proba=np.full((20, 4), np.float32(0.25)))
    check_teacher(loss, one, 20)
    with pytest.raises(DataError, match=r"t\.npz: proba is \(20, 4\), but the training data have 21 rows"):
        check_teacher(loss, one, 21)
    check_teacher(CrossEntropy(teacher="none.npz"), one, 20)


def test_the_digest_is_of_the_content(tmp_path):
    file = write(tmp_path, proba=PROBA)
    first = teacher_digest(file)
    file.rename(tmp_path / "moved.npz")
    assert teacher_digest(tmp_path / "moved.npz") == first
    assert teacher_digest(write(tmp_path, proba=PROBA[::-1, [1, 0, 2, 3, 4]])) != first
    with pytest.raises(DataError, match=r"none\.npz"):
        teacher_digest(tmp_path / "none.npz")
