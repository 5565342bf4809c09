"""Folds in words and figures."""

import numpy as np
from data_files import graphemes

from tune_digits.config import Cv
from tune_digits.data.dataset import Labelled, Target
from tune_digits.data.folds.split import make_folds
from tune_digits.data.folds.table import describe_folds, fold_table


def test_the_table_counts_what_validates():
    labels, groups = graphemes(120)
    targets = (Target("root", tuple("abcdef")), Target("vowel", tuple(f"vowel_{i}" * 4 for i in range(5))))
    train = Labelled(np.zeros((120, 1, 2, 2), np.uint8), labels, np.arange(120), targets, groups)
    cv = Cv(folds=4, groups={"combination": True}, lone_groups="train", repeats=4)
    split = make_folds(labels, groups, cv)
    heads, lines = fold_table(split, train)
    assert len(lines) == 12  # of 16
    assert heads[:4] == ["fold", "train", "valid", "groups"] and heads[4].split() == ["root", *"abcdef"]
    assert heads[5] == "vowel\n5 classes"
    for fold, line in zip(split, lines, strict=False):
        assert int(line[1]) == len(fold.train_idx) and int(line[2]) == len(fold.valid_idx)
        assert int(line[3]) == len(set(groups[fold.valid_idx]))
        assert [int(n) for n in line[4].split()] == np.bincount(
            labels[fold.valid_idx, 0], minlength=6
        ).tolist()
        counts = np.bincount(labels[fold.valid_idx, 1], minlength=5)
        assert line[5] == f"{counts.min()} to {counts.max()} each"
    never = (labels[:, 0] == 5).sum()
    words = describe_folds(split, train, cv)
    assert words.startswith("16 folds in 4 repeats, of whole groups (")
    assert words.endswith(f"{never} rows train in every fold and never validate")


def words_of(**cv):
    labels = (np.arange(60) % 2)[:, None]
    columns = {"fold": np.array(["0", "1", "2", "-1"] * 15)}
    targets = (Target("label", ("a", "b")),)
    train = Labelled(np.zeros((60, 1, 2, 2), np.uint8), labels, np.arange(60), targets, columns=columns)
    cv = Cv(**cv)
    return describe_folds(make_folds(labels, None, cv, targets, columns), train, cv)


def test_how_folds_were_made_is_said():
    assert words_of() == "5 folds, stratified by class"
    assert words_of(kind="random", repeats=2) == "10 folds in 2 repeats, dealt by chance"
    assert words_of(holdout=0.2) == "1 fold, stratified by class"
    by_column = "3 folds, by the column 'fold'; 15 rows train in every fold and never validate"
    assert words_of(fold_column="fold") == by_column
