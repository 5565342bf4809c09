from typing import get_args

import numpy as np
import pytest
from data_files import graphemes

from tune_digits.config import Cv
from tune_digits.config.study import GROUPED
from tune_digits.data.dataset import Labelled, Target
from tune_digits.data.folds.kinds import KINDS
from tune_digits.data.folds.split import groups_of, lone_rows, make_folds
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


def test_groups_that_cannot_fill_all_folds_evenly():
    groups = np.repeat(np.arange(5), [17, 13, 15, 7, 10])
    labels = (groups % 2)[:, None]
    with pytest.raises(
        DataError, match=r"Fold 3 would validate nothing: the groups are too uneven for 5 folds"
    ):
        make_folds(labels, groups, Cv(folds=5))


def test_whole_groups_may_have_a_class_smaller_than_the_folds():
    groups = np.arange(60) // 3
    labels = (np.arange(60) % 15 == 0).astype(np.int64)[:, None]  # 4 samples, in 4 groups
    assert_partition(make_folds(labels, groups, Cv(folds=5, kind="grouped", groups="g")), 60)
    with pytest.raises(DataError, match="class 1: 4"):
        make_folds(labels, groups, Cv(folds=5))


@pytest.mark.parametrize("seed", range(5))
def test_lone_groups_are_those_that_hold_all_of_a_class(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 6, 40)
    labels = np.stack([(groups + rng.integers(0, 2, 40)) % 5, rng.integers(0, 9, 40)], axis=1)
    lone = {
        groups[column == c][0]
        for column in labels.T
        for c in set(column)
        if len(set(groups[column == c])) == 1
    }
    assert lone_rows(labels, groups).tolist() == [g in lone for g in groups]


# ── kinds, repeats, holdout, columns, groups ─────────────────────────────────────────────────────────


def of_kind(kind, seed=0, **more):
    """Folds of that kind over skewed labels of two targets, with groups where the kind wants them."""
    rng = np.random.default_rng(seed)
    labels = np.stack([rng.choice(4, 300, p=[0.4, 0.3, 0.2, 0.1]), rng.integers(0, 3, 300)], axis=1)
    groups = np.arange(300) // 6 if kind in GROUPED else None
    cv = Cv(kind=kind, seed=seed, groups="writer" if kind in GROUPED else None, **more)
    return labels, groups, make_folds(labels, groups, cv)


def test_kinds_are_those_of_the_configuration():
    assert {"auto", *KINDS} == set(get_args(Cv.model_fields["kind"].annotation))
    assert set(GROUPED) <= set(KINDS)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_makes_partitions_and_keeps_groups_whole(kind, seed):
    _, groups, split = of_kind(kind, seed, folds=4, repeats=2)
    assert [f.index for f in split] == list(range(8))
    for repeat in (split[:4], split[4:]):
        valid = np.concatenate([f.valid_idx for f in repeat])
        np.testing.assert_array_equal(np.sort(valid), np.arange(300))
    for fold in split:
        both = np.concatenate([fold.train_idx, fold.valid_idx])
        np.testing.assert_array_equal(np.sort(both), np.arange(300))
        if groups is not None:
            assert not set(groups[fold.train_idx]) & set(groups[fold.valid_idx])
    assert not np.array_equal(split[0].valid_idx, split[4].valid_idx)


def test_a_repeat_that_would_be_the_same_folds_is_refused():
    # groups of all sizes are dealt from the most uneven one on, whatever the seed
    groups = np.repeat(np.arange(20), np.arange(1, 21))
    labels = (groups % 2)[:, None]
    with pytest.raises(DataError, match=r"fold 2 would validate the very rows of fold 0.*kind: grouped"):
        make_folds(labels, groups, Cv(folds=2, repeats=2))
    assert len(make_folds(labels, groups, Cv(folds=2, repeats=2, kind="grouped", groups="g"))) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_repeat_is_the_single_cross_validation(kind):
    once, twice = of_kind(kind)[2], of_kind(kind, repeats=2)[2]
    for a, b in zip(once, twice[:5], strict=True):
        np.testing.assert_array_equal(a.valid_idx, b.valid_idx)


@pytest.mark.parametrize("kind", KINDS)
def test_no_repeat_of_one_seed_is_a_cross_validation_of_a_near_one(kind):
    labels, groups, twice = of_kind(kind, repeats=2)
    for seed in (1, 2):
        cv = Cv(kind=kind, seed=seed, groups="writer" if kind in GROUPED else None)
        for a, b in zip(twice[5:], make_folds(labels, groups, cv), strict=True):
            assert not np.array_equal(a.valid_idx, b.valid_idx)


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_holdouts_too(kind):
    labels, groups, (first,) = of_kind(kind, holdout=0.3)
    cv = {"kind": kind, "holdout": 0.3, "groups": "writer" if kind in GROUPED else None}
    (again,), (other,) = (make_folds(labels, groups, Cv(seed=seed, **cv)) for seed in (0, 1))
    np.testing.assert_array_equal(first.valid_idx, again.valid_idx)
    assert not np.array_equal(first.valid_idx, other.valid_idx)


def test_whole_groups_are_stratified_by_their_class():
    """60 groups of four rows, a third of them of class 1: grouped deals them by chance, stratified_grouped evenly."""
    groups = np.arange(240) // 4
    labels = (groups % 3 == 0).astype(np.int64)[:, None]

    def unevenness(kind):
        split = make_folds(labels, groups, Cv(kind=kind, groups="g", seed=3))
        return np.ptp([labels[f.valid_idx].sum() for f in split])

    assert unevenness("stratified_grouped") == unevenness("auto") == 0 < unevenness("grouped")


def test_rows_beside_lone_groups_are_stratified_by_their_own_class():
    """The first 40 rows are one group with all of class 2; the rest are groups of four of class 0 or 1."""
    labels = np.r_[np.full(40, 2), np.zeros(120), np.ones(40)].astype(np.int64)[:, None]
    groups = np.r_[np.zeros(40), 1 + np.arange(160) // 4].astype(np.int64)
    split = make_folds(labels, groups, Cv(folds=5, groups="g", lone_groups="train"))
    assert [np.bincount(labels[f.valid_idx, 0]).tolist() for f in split] == [[24, 8]] * 5


@pytest.mark.parametrize("share", [0.1, 0.25, 0.6])
@pytest.mark.parametrize("kind", KINDS)
def test_a_holdout_is_one_fold_of_that_share_per_repeat(kind, share):
    labels, groups, split = of_kind(kind, holdout=share, repeats=3)
    assert [f.index for f in split] == [0, 1, 2]
    for fold in split:
        assert len(fold.valid_idx) / 300 == pytest.approx(share, abs=0.1 if groups is not None else 0.01)
        np.testing.assert_array_equal(
            np.sort(np.concatenate([fold.train_idx, fold.valid_idx])), np.arange(300)
        )
        if groups is not None:
            assert not set(groups[fold.train_idx]) & set(groups[fold.valid_idx])
    if kind in ("stratified", "multilabel"):
        for column in labels.T:
            counts = np.bincount(column[split[0].valid_idx])
            assert abs(counts - np.bincount(column) * share).max() <= 2.5


def test_multilabel_deals_each_class_of_each_target_evenly():
    # 12 x 10 combinations of 300 rows: most are too rare to stratify by
    labels = np.stack([np.random.default_rng(t).integers(0, k, 300) for t, k in enumerate((12, 10))], axis=1)

    def unevenness(kind):
        split = make_folds(labels, None, Cv(kind=kind, folds=5))
        counts = [np.stack([np.bincount(c[f.valid_idx]) for f in split]) for c in labels.T]
        return np.mean([np.ptp(c, axis=0).mean() for c in counts])

    assert unevenness("multilabel") < 2 < 4 < min(unevenness("random"), unevenness("stratified"))


def test_random_is_the_way_out_of_a_small_class():
    labels = np.array([0] * 20 + [1] * 3)[:, None]
    with pytest.raises(DataError, match=r"cv\.kind: random"):
        make_folds(labels, None, Cv(folds=5))
    assert_partition(make_folds(labels, None, Cv(folds=5, kind="random")), 23)
    with pytest.raises(DataError, match=r"without class 1: all its 1 sample"):
        make_folds(labels[:21], None, Cv(folds=5, kind="random"))


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        ({"holdout": 0.001, "kind": "random"}, None),
        ({"holdout": 0.999, "kind": "random"}, "0 on one side"),
        ({"holdout": 0.02}, "1 on one side, which needs one for each of 2 classes"),
    ],
)
def test_a_holdout_too_small_for_its_rows(cv, message):
    labels = (np.arange(50) % 2)[:, None]
    if message is None:
        assert len(make_folds(labels, None, Cv(**cv))[0].valid_idx) == 1
    else:
        with pytest.raises(DataError, match=message):
            make_folds(labels, None, Cv(**cv))


def test_a_column_of_folds_says_who_validates_where():
    labels = (np.arange(60) % 3)[:, None]
    column = np.array(["10", "9", "-1", "2"] * 15)
    split = make_folds(labels, None, Cv(fold_column="fold"), columns={"fold": column})
    assert [set(column[f.valid_idx]) for f in split] == [{"2"}, {"9"}, {"10"}]  # by number
    for fold in split:
        np.testing.assert_array_equal(
            np.sort(np.concatenate([fold.train_idx, fold.valid_idx])), np.arange(60)
        )
    as_pandas_writes = np.array(["1.0", "-1.0", "0.0"] * 20)
    split = make_folds(
        labels, None, Cv(fold_column="fold"), columns={"fold": as_pandas_writes[RNG.permutation(60)]}
    )
    assert len(split) == 2 and sum(len(f.valid_idx) for f in split) == 40
    names = make_folds(labels, None, Cv(fold_column="f"), columns={"f": np.array(["b", "a"] * 30)})
    assert names[0].valid_idx.tolist() == list(range(1, 60, 2))


@pytest.mark.parametrize(
    ("column", "groups", "message"),
    [
        (["0"] * 6, None, "1 different value"),
        (["-1"] * 6, None, "0 different value"),
        (["0", "1", "", "1", "0", "1"], None, r"empty in 1 row\(s\), first in row 3"),
        (["0", "1"] * 3, [0, 0, 1, 1, 2, 2], "rows 1 and 2 are of one group"),
    ],
)
def test_a_column_of_folds_that_cannot_be(column, groups, message):
    labels = np.array([0, 1, 1, 0, 1, 0])[:, None]
    groups = None if groups is None else np.array(groups)
    with pytest.raises(DataError, match=message):
        make_folds(labels, groups, Cv(fold_column="f", groups="g"), columns={"f": np.array(column)})


def test_a_column_that_is_not_there_is_answered_with_those_that_are():
    with pytest.raises(DataError, match=r"cv\.fold_column is 'fold'.*It has: label, writer"):
        make_folds(LABELS, None, Cv(fold_column="fold"), columns={"label": LABELS, "writer": LABELS})


def some_rows(columns=None):
    labels = np.array([[0, 0], [0, 1], [1, 0], [0, 1], [1, 0], [2, 0]])
    targets = (Target("root", ("a", "b", "c")), Target("vowel", ("d", "e")))
    return Labelled(np.zeros((6, 1, 2, 2), np.uint8), labels, np.arange(6), targets, columns=columns or {})


def test_groups_come_of_columns_rows_or_combinations():
    rows = some_rows({"writer": np.array(["x", "y", "x", "z", "y", "x"])})
    assert groups_of(rows, Cv()) is None
    assert groups_of(rows, Cv(groups="writer")).tolist() == [0, 1, 0, 2, 1, 0]
    assert groups_of(rows, Cv(groups={"rows_per_group": 4})).tolist() == [0, 0, 0, 0, 1, 1]
    combined = groups_of(rows, Cv(groups={"combination": True}))
    assert combined.tolist() == [0, 1, 2, 1, 2, 3] and combined.dtype == np.int64
    with pytest.raises(DataError, match=r"cv\.groups is 'plant'.*It has: writer"):
        groups_of(rows, Cv(groups="plant"))
    with pytest.raises(DataError, match="no columns beside images and labels"):
        groups_of(some_rows(), Cv(groups="plant"))


@pytest.mark.parametrize("seed", range(3))
def test_folds_by_combination_validate_what_was_never_trained_on(seed):
    labels, groups = graphemes(seed=seed)
    assert lone_rows(labels, groups).tolist() == (labels[:, 0] == 5).tolist()
    cv = Cv(folds=4, seed=seed, groups={"combination": True}, lone_groups="train")
    split = make_folds(labels, groups, cv)
    validated = np.concatenate([f.valid_idx for f in split])
    np.testing.assert_array_equal(np.sort(validated), np.flatnonzero(labels[:, 0] != 5))
    for fold in split:
        assert not set(groups[fold.train_idx]) & set(groups[fold.valid_idx])
        for column in labels.T:
            assert set(column[fold.train_idx]) == set(column)
    counts = np.stack([np.bincount(labels[f.valid_idx, 0], minlength=6) for f in split])
    # no combination can be dealt evenly, since each validates as a whole; the roots, which have most classes, are as
    # even as that allows: their counts differ by 15 to 19, and by 58 and more where nothing is stratified
    assert np.ptp(counts, axis=0).max() < 25
    with pytest.raises(DataError, match=r"without class 5.*cv\.lone_groups: train"):
        make_folds(labels, groups, Cv(folds=4, groups={"combination": True}))


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        ({"kind": "grouped"}, "kind grouped needs groups"),
        ({"kind": "multilabel", "groups": "writer"}, "would split groups; use stratified_grouped"),
        ({"fold_column": "f", "repeats": 2, "holdout": 0.2}, "leave out repeats, holdout"),
        ({"lone_groups": "train"}, "there are no groups"),
        ({"groups": {"combination": False}}, "True"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(cv, message):
    with pytest.raises(ValueError, match=message):
        Cv(**cv)


@pytest.mark.parametrize(
    ("cv", "splits"),
    [
        ({}, 5),
        ({"folds": 3, "repeats": 4}, 12),
        ({"holdout": 0.2, "repeats": 2}, 2),
        ({"fold_column": "f"}, None),
    ],
)
def test_the_configuration_counts_the_folds(cv, splits):
    assert Cv(**cv).splits == splits


def test_a_holdout_is_stratified_by_small_classes_too():
    """Classes with fewer rows than cv.folds: a holdout has two parts, whatever cv.folds says."""
    labels = np.array([0] * 20 + [1] * 4)[:, None]
    for seed in range(20):
        (fold,) = make_folds(labels, None, Cv(holdout=0.5, folds=5, seed=seed))
        assert np.bincount(labels[fold.valid_idx, 0]).tolist() == [10, 2]


def test_a_repeat_is_not_the_next_seed():
    """The repeats of one seed are other divisions than those of the seeds beside it."""
    second = make_folds(LABELS, None, Cv(folds=3, repeats=2, seed=0))[3:]
    beside = make_folds(LABELS, None, Cv(folds=3, seed=1))
    assert any(not np.array_equal(a.valid_idx, b.valid_idx) for a, b in zip(second, beside, strict=True))
