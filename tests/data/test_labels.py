"""Labels and ids as files write them."""

import numpy as np
import pytest

from tune_digits.data.dataset import Labelled, Target
from tune_digits.data.labels import as_ids, is_whole, read_labels, refuse_bad_ids, with_targets
from tune_digits.errors import DataError


@pytest.mark.parametrize(
    ("labels", "classes", "numbers"),
    [
        (["10", "9", "10"], ("9", "10"), [1, 0, 1]),
        (["07", "7", "0"], ("0", "7"), [1, 1, 0]),
        (["b", "a", "c", "a"], ("a", "b", "c"), [1, 0, 2, 0]),
        (["B", "a"], ("B", "a"), [0, 1]),
    ],
)
def test_classes_and_places(labels, classes, numbers):
    found, places = read_labels(np.array(labels), "a.csv")
    assert found == classes and places.tolist() == numbers and places.dtype == np.int64


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["a", ""], "a.csv, row 2: the label is missing"),
        (["1", "x", "2"], "row 2: the label is 'x'"),
        (["x", "1"], "row 1: the label is 'x'"),
        (["1", "2", "-1"], "row 3: the label is '-1'"),
        (["1", "1.5"], "row 2: the label is '1.5'"),
        (["1", "9" * 19], "row 2: the label '999.* is too large"),
    ],
)
def test_labels_that_are_none(labels, words):
    with pytest.raises(DataError, match=words):
        read_labels(np.array(labels), "a.csv")


def test_whole_numbers_are_in_plain_digits():
    assert [is_whole(text) for text in ("0", "007", "", "-1", "1.0", "٣", "²")] == [True, True] + [False] * 5


def set_of(*targets):
    labels = np.stack([np.arange(4) % len(target.classes) for target in targets], axis=1)
    return Labelled(
        np.zeros((4, 1, 2, 2), np.uint8), labels, np.arange(4), targets, columns={"a": np.arange(4)}
    )


ROOT, VOWEL = Target("root", ("a", "b", "c")), Target("vowel", ("d", "e"))


def test_labels_are_renumbered_by_the_names_of_classes():
    own = set_of(Target("root", ("c", "a")), Target("vowel", ("e", "d")))
    known = with_targets(own, (ROOT, VOWEL), "b.csv")
    assert known.labels.tolist() == [[2, 1], [0, 0], [2, 1], [0, 0]]
    assert known.targets == (ROOT, VOWEL) and known.columns is own.columns
    assert own.labels.tolist() == [[0, 0], [1, 1], [0, 0], [1, 1]]  # those given stay as they are


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ((ROOT,), "b.csv has labels for root, but the training data have root, vowel"),
        ((VOWEL, ROOT), "labels for vowel, root, but the training data have root, vowel"),
        ((ROOT, Target("tone", ("d", "e"))), "labels for root, tone"),
        (
            (ROOT, Target("vowel", ("d", "x"))),
            "b.csv, row 2: the label 'x' does not occur .* classes are d, e",
        ),
    ],
)
def test_a_set_with_other_targets_or_classes_is_refused(own, words):
    with pytest.raises(DataError, match=words):
        with_targets(set_of(*own), (ROOT, VOWEL), "b.csv")


@pytest.mark.parametrize(
    ("ids", "kind"),
    [(["1", "20"], "i"), (["007", "8"], "U"), (["1", "a"], "U"), (["9" * 30], "U"), (["-3"], "i")],
)
def test_ids_are_numbers_where_all_are_in_plain_form(ids, kind):
    assert as_ids(np.array(ids)).dtype.kind == kind
    assert as_ids(np.array(ids)).astype(str).tolist() == ids


def test_ids_that_are_missing_or_repeated():
    refuse_bad_ids("a.csv", np.array(["a", "b"]))
    with pytest.raises(DataError, match=r"a.csv, row 3: the id 'a' is already that of row 1"):
        refuse_bad_ids("a.csv", np.array(["a", "b", "a"]))
    with pytest.raises(DataError, match=r"a.csv, row 2: the id is missing"):
        refuse_bad_ids("a.csv", np.array(["a", ""]))
