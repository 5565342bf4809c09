import gzip

import numpy as np
import pytest
from data_files import write_idx

from tune_digits.config import Cv
from tune_digits.data.formats import Auto
from tune_digits.data.load import load_task, load_unlabelled
from tune_digits.data.readers.idx import Options, find_sets, read_idx, sniff


def sample(folder):
    return Options(path=str(write_idx(folder)))


def load(path, **data):
    return load_task(Auto(path=str(path), **data), Cv())


def head(*sizes, kind=8):
    return bytes([0, 0, kind, len(sizes)]) + np.array(sizes, ">u4").tobytes()


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("place", [".", "raw"])
def test_mnists_own_files(tmp_path, make_idx, end, place):
    make_idx(tmp_path / "mnist" / place, end=end)
    task = load(tmp_path / "mnist")
    assert task.describe() == "mnist: 30 train, 6 test, 3x3x1, 3 classes"
    images = np.random.default_rng(0).integers(0, 256, (30, 3, 3), np.uint8)
    np.testing.assert_array_equal(task.train.images[:, 0], images)
    np.testing.assert_array_equal(task.train.labels[:, 0], np.arange(30) % 3)
    np.testing.assert_array_equal(task.test.labels[:, 0], np.arange(6) % 3)
    assert task.targets[0].classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("kind", "code"), [("u1", 8), ("i1", 9), (">i2", 11), (">i4", 12), (">f4", 13), (">f8", 14)]
)
def test_every_kind_of_number(tmp_path, kind, code):
    values = np.array([[1, -2, 3], [100, 5, -60]]).astype(kind)
    (tmp_path / "a").write_bytes(head(2, 3, kind=code) + values.tobytes())
    np.testing.assert_array_equal(read_idx(tmp_path / "a"), values)


def test_names_of_files(tmp_path, make_idx):
    for name in (
        "train-images.idx3-ubyte",
        "emnist-letters-train-images-idx3-ubyte.gz",
        "test-images-idx3-ubyte",
    ):
        assert sniff(tmp_path / name)
    for name in ("train-images", "train.csv", "images-idx3-ubyte", "train-images-idx3-ubyte.txt"):
        assert not sniff(tmp_path / name)
    make_idx(tmp_path, end=".gz")
    make_idx(tmp_path)
    assert find_sets(tmp_path)[""].train_images.name == "train-images-idx3-ubyte"  # the plain one of the two
    assert find_sets(tmp_path / "nowhere") == {}


def test_one_of_several_sets(tmp_path, make_idx, refuses):
    make_idx(tmp_path, "emnist-digits-")
    make_idx(tmp_path, "emnist-letters-", side=(4, 2))
    refuses(lambda: load(tmp_path), "several sets", "emnist-digits, emnist-letters", "data.path")
    task = load(tmp_path / "emnist-letters-train-images-idx3-ubyte")
    assert task.describe() == "emnist-letters: 30 train, 6 test, 4x2x1, 3 classes"


def test_transposed(tmp_path, make_idx):
    make_idx(tmp_path, side=(4, 2))
    flat, upright = load(tmp_path), load(tmp_path, transpose=True)
    assert upright.describe() == f"{tmp_path.name}: 30 train, 6 test, 2x4x1, 3 classes"
    for one, other in ((flat.train, upright.train), (flat.test, upright.test)):
        np.testing.assert_array_equal(one.images[:, 0, 3, 1], other.images[:, 0, 1, 3])
        assert other.images.flags.c_contiguous
    images, ids = load_unlabelled(tmp_path, (1, 2, 4), data=Auto(transpose=True))
    np.testing.assert_array_equal(images, upright.test.images)
    np.testing.assert_array_equal(ids, np.arange(6))
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    np.testing.assert_array_equal(load(tmp_path, transpose=True).test.images, upright.test.images)
    make_idx(tmp_path / "more", "emnist-letters-", side=(4, 2))
    one_of_several = load(tmp_path / "more" / "emnist-letters-train-images-idx3-ubyte", transpose=True)
    np.testing.assert_array_equal(one_of_several.train.images, upright.train.images)


def test_without_test_labels_or_test(tmp_path, make_idx):
    make_idx(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    task = load(tmp_path)
    assert task.test.labels is None and len(task.submission.ids) == 6
    (tmp_path / "t10k-images-idx3-ubyte").unlink()
    assert load(tmp_path).test is None


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("train-images-idx3-ubyte", b"", ["does not start as IDX files do", "nothing"]),
        ("train-images-idx3-ubyte", b"label,pixel0\n1,5\n", ["does not start as IDX", "6c 61 62 65"]),
        ("train-images-idx3-ubyte", head(30, 3, 3, kind=7), ["does not start as IDX"]),
        ("train-images-idx3-ubyte", gzip.compress(head(30, 3, 3)), ["does not start", "It is gzip"]),
        ("train-images-idx3-ubyte", head(30, 3, 3)[:9], ["ends within its header"]),
        ("train-images-idx3-ubyte", head(30, 3, 3) + bytes(269), ["too short", "30x3x3 = 270 bytes"]),
        ("train-images-idx3-ubyte", head(30, 3, 3) + bytes(271), ["too long", "30x3x3"]),
        ("train-images-idx3-ubyte", head(2**32 - 1, 2**32 - 1, 9), ["too short"]),
        ("train-images-idx3-ubyte", head(0, 3, 3), ["is empty", "0x3x3"]),
        ("train-images-idx3-ubyte", head(30, 3) + bytes(90), ["uint8 numbers in 2 dimension", "labels?"]),
        ("train-labels-idx1-ubyte", head(30, 1, 1) + bytes(30), ["3 dimension", "images?"]),
        ("train-labels-idx1-ubyte", head(29) + bytes(29), ["29 labels", "30 images"]),
        ("train-labels-idx1-ubyte", head(30, kind=9) + b"\0\1\xff" * 10, ["row 3", "'-1'"]),
        ("t10k-images-idx3-ubyte", head(6, 2, 3) + bytes(36), ["2x3", "3x3"]),
        ("t10k-labels-idx1-ubyte", head(6) + bytes([0, 1, 2, 3, 0, 1]), ["row 4", "'3'", "does not occur"]),
    ],
)
def test_malformed_files(tmp_path, make_idx, refuses, name, content, words):
    make_idx(tmp_path)
    (tmp_path / name).write_bytes(content)
    refuses(lambda: load(tmp_path), *words)


def test_one_class(tmp_path, make_idx, refuses):
    make_idx(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(head(30) + bytes([4]) * 30)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    refuses(lambda: load(tmp_path), "one class only", "'4'")


@pytest.mark.parametrize("keep", [6, 100, -3])
def test_truncated_gzip(tmp_path, make_idx, refuses, keep):
    make_idx(tmp_path, end=".gz")
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:keep])
    refuses(lambda: load(tmp_path), path.name, "cut short")


def test_a_header_that_promises_more_than_gzip_can_hold(tmp_path, make_idx, refuses):
    make_idx(tmp_path, end=".gz")
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(head(2**31, 2**9, 2**9) + bytes(9)))
    refuses(lambda: load(tmp_path), "too short")


def test_missing_files(tmp_path, make_idx, refuses):
    make_idx(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    refuses(lambda: load(tmp_path), "no file train-labels-idx1-ubyte", "t10k-images-idx3-ubyte")
    refuses(lambda: load_unlabelled(tmp_path, (1, 4, 4)), "3x3", "4x4x1")
    (tmp_path / "t10k-images-idx3-ubyte").unlink()
    refuses(lambda: load_unlabelled(tmp_path, (1, 3, 3)), "no file t10k-images-idx3-ubyte")
    refuses(lambda: load_task(Options(path=str(tmp_path.parent)), Cv()), "no IDX files")
