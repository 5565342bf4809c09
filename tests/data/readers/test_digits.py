import numpy as np
from sklearn.datasets import load_digits

from tune_digits.data.readers.digits import Options, read


def sample(folder):
    return Options()


def test_digits_are_scikit_learns():
    task, bunch = read(Options()), load_digits()
    assert task.describe() == "digits: 1,437 train, 360 test, 8x8x1, 10 classes"
    for part in (task.train, task.test):
        assert part.images.dtype == np.uint8 and part.images.flags.c_contiguous
        assert np.abs(part.images[:, 0] / 255 * 16 - bunch.images[part.ids]).max() < 16 / 255
        np.testing.assert_array_equal(part.labels[:, 0], bunch.target[part.ids])
    assert (task.train.images.min(), task.train.images.max()) == (0, 255)
    np.testing.assert_array_equal(np.sort(np.concatenate([task.train.ids, task.test.ids])), np.arange(1797))
    assert (np.diff(task.train.ids) > 0).all() and (np.diff(task.test.ids) > 0).all()  # scikit-learn's order
    np.testing.assert_array_equal(task.submission.ids, task.test.ids)
    share = np.bincount(task.test.labels[:, 0]) / np.bincount(bunch.target)
    assert np.abs(share - 0.2).max() < 0.01


def test_the_split_is_always_the_same():
    np.testing.assert_array_equal(read(Options()).test.ids, read(Options()).test.ids)
