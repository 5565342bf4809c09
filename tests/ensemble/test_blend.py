"""Votes over files of several kinds: matched by id and class, or refused with what differs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tune_digits.data.dataset import RowForm, Target
from tune_digits.ensemble.blend import Labels, Probabilities, blend, read_voter
from tune_digits.ensemble.predictions import Predictions, write_predictions
from tune_digits.ensemble.submission import submission_frame
from tune_digits.ensemble.vote import labels_of
from tune_digits.errors import DataError

ABC = (Target("label", ("a", "b", "c")),)
ROOT, VOWEL = Target("root", ("ka", "ga", "ma")), Target("vowel", ("0", "1"))
LONG = RowForm("row_id", ("target",), ("_vowel", "_root"), ((1,), (0,)), numbers=True)


def text(tmp_path: Path, name: str, *lines: str) -> Path:
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n")
    return path


def proba(tmp_path: Path, name: str, ids: list, vote: list, targets=ABC, form: RowForm = RowForm()) -> Path:  # noqa: B008
    own = np.array(vote, np.float64)
    said = Predictions(np.array(ids), targets, form, ("m",), own[None].astype(np.float32), own)
    write_predictions(tmp_path / name, said)
    return tmp_path / name


def answers(voted: Predictions) -> list[str]:
    """The submission's rows, cells with commas between them."""
    labels = labels_of(voted.vote, voted.heads)
    frame = submission_frame(voted.form.of(voted.ids), labels, voted.targets)
    return [",".join(map(str, row)) for row in [list(frame), *frame.to_numpy().tolist()]]


def blended(*paths: Path, rule: str | None = None, weights: list[float] | None = None) -> Predictions:
    return blend([read_voter(path) for path in paths], rule, weights)


def test_probabilities_are_matched_by_id_and_by_class(tmp_path: Path) -> None:
    first = proba(tmp_path, "a.npz", [1, 2], [[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]])
    second = text(tmp_path, "b.csv", "Id,c,a,b", "2,0.9,0.1,0.0", "1,0.0,0.5,0.5")
    voted = blended(first, second)
    assert voted.vote == pytest.approx(np.array([[0.55, 0.4, 0.05], [0.15, 0.35, 0.5]]))
    assert answers(voted) == ["id,label", "1,a", "2,c"]
    assert voted.names == ("a", "b") and voted.members[1] == pytest.approx(
        np.array([[0.5, 0.5, 0], [0.1, 0, 0.9]])
    )
    weighted = blended(first, second, weights=[3, 1])
    assert weighted.vote[1] == pytest.approx(
        0.75 * np.array([0.2, 0.7, 0.1]) + 0.25 * np.array([0.1, 0, 0.9])
    )
    # the order is that of the first
    assert blended(second, first).ids.tolist() == [2, 1]
    assert answers(blended(first, second, rule="rank"))[1:] == ["1,a", "2,c"]


def test_submissions_have_one_vote_each_and_ties_go_to_the_first(tmp_path: Path) -> None:
    head = "ImageId,Label"
    one = text(tmp_path, "one.csv", head, "1,7", "2,3", "3,1")
    two = text(tmp_path, "two.csv", head, "3,2", "2,3.0", "1,4")
    three = text(tmp_path, "three.csv", head, "1,4", "2,9", "3,0")
    assert isinstance(read_voter(one), Labels)
    assert answers(blended(one, two, three)) == [head, "1,4", "2,3", "3,1"]
    assert answers(blended(three, two, one)) == [head, "1,4", "2,3", "3,0"]
    assert answers(blended(one, two, three, weights=[1, 1, 3])) == [head, "1,4", "2,9", "3,0"]
    for rule in ("soft", "rank"):
        with pytest.raises(DataError, match=r"one\.csv has labels and no probabilities.*--vote hard"):
            blended(one, two, rule=rule)


def test_a_submission_beside_probabilities_votes_hard_and_names_the_columns(tmp_path: Path) -> None:
    first = proba(tmp_path, "a.npz", ["x", "y"], [[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]])
    second = proba(tmp_path, "b.npz", ["y", "x"], [[0.1, 0.1, 0.8], [0.1, 0.8, 0.1]])
    labels = text(tmp_path, "c.csv", "image,kind", "y,c", "x,a")
    assert answers(blended(first, second, labels)) == ["image,kind", "x,a", "y,c"]
    assert answers(blended(first, second)) == ["id,label", "x,b", "y,c"]


SHAKY = [[0.6, 0.3, 0.1, 0.2, 0.8], [0.2, 0.7, 0.1, 0.9, 0.1]]  # of root and vowel


def test_the_form_of_several_targets_is_kept(tmp_path: Path) -> None:
    targets = (ROOT, VOWEL)
    first = proba(tmp_path, "a.npz", ["x", "y"], SHAKY, targets, LONG)
    long = text(tmp_path, "b.csv", "row_id,target", "y_root,2", "x_vowel,1", "y_vowel,1", "x_root,0")
    again = text(tmp_path, "c.csv", "row_id,target", "x_root,1", "x_vowel,0", "y_root,2", "y_vowel,1")
    expected = ["row_id,target", "x_vowel,1", "x_root,0", "y_vowel,1", "y_root,2"]
    assert answers(blended(first, long, again)) == expected
    assert sorted(answers(blended(long, again, long))) == sorted(expected)  # labels alone
    wide = text(tmp_path, "d.csv", "id,vowel,root", "y,1,ma", "x,0,ga")
    plain = proba(
        tmp_path,
        "e.npz",
        ["x", "y"],
        SHAKY,
        targets,
        RowForm.wide(targets),
    )
    assert answers(blended(plain, wide, wide)) == ["id,root,vowel", "x,ga,0", "y,ma,1"]
    table = text(
        tmp_path, "f.csv", "id,vowel:0,vowel:1,root:ka,root:ga,root:ma", "x,1,0,0,0,1", "y,0,1,0,0,1"
    )
    both = blended(plain, table)
    assert isinstance(read_voter(table), Probabilities)
    assert both.vote[0] == pytest.approx(np.array([0.3, 0.15, 0.55, 0.6, 0.4]))


def test_a_table_of_numbers_is_probabilities_where_they_sum_to_1(tmp_path: Path) -> None:
    assert isinstance(read_voter(text(tmp_path, "a.csv", "id,0,1", "5,0.5,0.5", "6,1,0")), Probabilities)
    rounded = read_voter(text(tmp_path, "r.csv", "id,0,1,2", "5,0.333,0.333,0.333"))
    assert isinstance(rounded, Probabilities) and rounded.proba.sum() == pytest.approx(1)
    assert isinstance(read_voter(text(tmp_path, "b.csv", "id,root,vowel", "5,1,1", "6,1,0")), Labels)
    assert isinstance(read_voter(text(tmp_path, "c.csv", "id,label", "5,1", "6,0")), Labels)


@pytest.mark.parametrize(
    ("name", "lines", "words"),
    [
        ("ids.csv", ("id,label", "1,a", "3,b"), r"ids of .*a\.npz \(2\) and .*s\.csv \(2\) differ: '2' is only in .*z"),
        ("less.csv", ("id,label", "1,a"), "'2' is only in"),
        ("twice.csv", ("id,label", "1,a", "1,b"), "row 2: the id 1 is already that of row 1"),
        ("class.csv", ("id,label", "2,a", "1,z"), r"class\.csv, row 2: the label 'z' is no class of .* a, b, c"),
        ("classes.csv", ("id,a,b,d", "1,1,0,0", "2,1,0,0"), "the classes of .* differ: 'c' is only in"),
        ("wide.csv", ("id,x,y", "1,a,a", "2,a,b"), "the columns of .* differ"),
        ("one.csv", ("id", "1", "2"), "has one column"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(tmp_path: Path, name: str, lines: tuple[str, ...], words: str) -> None:
    first = proba(tmp_path, "a.npz", [1, 2], [[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]])
    with pytest.raises(DataError, match=words):
        blended(first, text(tmp_path, name, *lines))
