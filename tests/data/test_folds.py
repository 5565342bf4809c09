import numpy as np
import pytest

from tune_digits.config import Cv
from tune_digits.data.dataset import Target
from tune_digits.data.folds import make_folds
from tune_digits.data.subset import subset_rows
from tune_digits.errors import DataError

RNG = np.random.default_rng(0)
LABELS = RNG.choice(4, size=400, p=[0.4, 0.3, 0.2, 0.1])[:, None]
GROUPS = np.arange(400) // 13


def assert_partition(folds, rows):
    np.testing.assert_array_equal(np.sort(np.concatenate([f.valid_idx for f in folds])), np.arange(rows))
    for index, fold in enumerate(folds):
        assert fold.index == index
        assert fold.train_idx.dtype == fold.valid_idx.dtype == np.int64
        assert (np.diff(fold.train_idx) > 0).all() and (np.diff(fold.valid_idx) > 0).all()
        both = np.concatenate([fold.train_idx, fold.valid_idx])
        np.testing.assert_array_equal(np.sort(both), np.arange(rows))


@pytest.mark.parametrize("folds", [2, 5, 7])
def test_partition_stratified_within_one(folds):
    split = make_folds(LABELS, None, Cv(folds=folds))
    assert len(split) == folds
    assert_partition(split, 400)
    counts = np.array([np.bincount(LABELS[f.valid_idx, 0], minlength=4) for f in split])
    assert np.ptp(counts, axis=0).max() <= 1


def test_groups_are_never_split():
    split = make_folds(LABELS, GROUPS, Cv(folds=5))
    assert_partition(split, 400)
    for fold in split:
        assert not set(GROUPS[fold.train_idx]) & set(GROUPS[fold.valid_idx])


def test_seed_decides_and_repeats():
    for groups in (None, GROUPS):
        first, again, other = (make_folds(LABELS, groups, Cv(seed=s)) for s in (0, 0, 1))
        np.testing.assert_array_equal(first[0].valid_idx, again[0].valid_idx)
        assert not np.array_equal(first[0].valid_idx, other[0].valid_idx)


def test_several_targets_are_stratified_together():
    labels = np.stack([np.arange(240) % 3, np.arange(240) // 3 % 2], axis=1)
    labels[0] = [2, 1]
    for fold in make_folds(labels, None, Cv(folds=4)):
        counts = np.bincount(labels[fold.valid_idx] @ [2, 1], minlength=6)
        assert abs(counts - 10).max() <= 1


@pytest.mark.filterwarnings("error")
def test_rare_combinations_are_no_obstacle():
    labels = np.stack([np.arange(60) % 2, np.arange(60) % 2], axis=1)
    labels[0] = [0, 1]  # the one sample of its combination
    assert_partition(make_folds(labels, None, Cv(folds=5)), 60)


def test_class_smaller_than_folds():
    labels = np.array([0] * 20 + [1] * 4)[:, None]
    with pytest.raises(DataError, match=r"class 'elm': 4,.* 5 folds .*fewer folds.*leave that class out"):
        make_folds(labels, None, Cv(folds=5), (Target("label", ("ash", "elm")),))
    with pytest.raises(DataError, match="class 1: 4"):
        make_folds(labels, None, Cv(folds=5))
    assert len(make_folds(labels, None, Cv(folds=4))) == 4


def test_small_class_of_one_of_several_targets_is_named():
    labels = np.stack([np.arange(20) % 2, [0] * 18 + [1] * 2], axis=1)
    targets = (Target("root", ("a", "b")), Target("vowel", ("c", "d")))
    with pytest.raises(DataError, match="class 'd' of vowel: 2"):
        make_folds(labels, None, Cv(folds=5), targets)


def test_too_few_groups():
    with pytest.raises(DataError, match=r"3 group\(s\), too few for cv.folds = 5"):
        make_folds(LABELS, np.arange(400) // 150, Cv(folds=5))


def test_class_within_one_group():
    labels = np.repeat([0, 1, 0, 1, 0, 2], 10)[:, None]
    with pytest.raises(DataError, match="would train without class 2"):
        make_folds(labels, np.repeat(np.arange(6), 10), Cv(folds=2))


# ── subset_rows ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("n", [20, 101, 160])
def test_subset_is_even_by_class(n):
    rows = subset_rows(LABELS, None, n, seed=0)
    assert rows.shape == (n,) and rows.dtype == np.int64 and (np.diff(rows) > 0).all()
    assert np.ptp(np.bincount(LABELS[rows, 0], minlength=4)) <= 1


def test_short_class_gives_all_it_has():
    labels = np.array([0] * 50 + [1] * 3 + [2] * 50)[:, None]
    assert np.bincount(labels[subset_rows(labels, None, 43, seed=0), 0]).tolist() == [20, 3, 20]


def test_subset_is_even_by_group_within_class():
    labels, groups = (np.arange(1200) % 4)[:, None], np.arange(1200) // 100
    rows = subset_rows(labels, groups, 150, seed=0)
    cells = np.zeros((4, 12), int)
    np.add.at(cells, (labels[rows, 0], groups[rows]), 1)
    assert np.ptp(cells.sum(axis=1)) <= 1
    assert np.ptp(cells) <= 1


def test_subset_repeats_by_seed_and_may_be_everything():
    np.testing.assert_array_equal(subset_rows(LABELS, None, 50, 3), subset_rows(LABELS, None, 50, 3))
    assert not np.array_equal(subset_rows(LABELS, None, 50, 3), subset_rows(LABELS, None, 50, 4))
    np.testing.assert_array_equal(subset_rows(LABELS, GROUPS, 400, 0), np.arange(400))
    with pytest.raises(DataError, match=r"data.subset is 401, .* 400"):
        subset_rows(LABELS, None, 401, 0)
